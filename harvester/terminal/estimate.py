"""How fast a sweep is, which targets it still reads, and how long that will take."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from harvester.tally import Reading, Tally
from harvester.text import printable

_SPEED_SECONDS = 5.0
_TREND_SECONDS = 60.0
_FEW = 4
_NAME_LENGTH = 40
_MINUTE = 60
_HOUR = 60 * _MINUTE


class Speed:
    """How much a number grows a second, over the last few seconds."""

    def __init__(self, now: Callable[[], float], seconds: float = _SPEED_SECONDS) -> None:
        self._now = now
        self._seconds = seconds
        self._marks: deque[tuple[float, int]] = deque([(now(), 0)])

    def at(self, number: int) -> float:
        """Return the speed, now that the number is `number`."""
        now = self._now()
        self._marks.append((now, number))
        while len(self._marks) > 2 and now - self._marks[1][0] >= self._seconds:  # noqa: PLR2004
            self._marks.popleft()
        began, before = self._marks[0]
        return (number - before) / (now - began) if now > began else 0.0


class Estimate:
    """How long a sweep will still take, by how fast its targets end and its open ones grow."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._ending = Speed(tally.now, _TREND_SECONDS)

    def seconds(self) -> float | None:
        """Return the seconds that are left, None where nothing can be said yet."""
        tally = self._tally
        per_second = self._ending.at(tally.ended.total())
        if tally.discovering or not tally.open:
            return None
        if per_second <= 0 and any(one.begun is None for one in tally.open.values()):
            return None
        by_count = len(tally.open) / per_second if per_second > 0 else 0.0
        left = (_left(reading, tally.now()) for reading in tally.open.values())
        return max(by_count, *left)


def _left(reading: Reading, now: float) -> float:
    """Return the seconds that an open target will take: as long again, if its size is unknown."""
    if reading.begun is None:
        return 0.0
    spent = now - reading.begun
    if reading.expected is None or not reading.findings:
        return spent
    return spent * max(reading.expected - reading.findings, 0) / reading.findings


def last_targets(tally: Tally) -> list[str]:
    """Return the targets that are still open and how far they are, where they are few."""
    if tally.discovering or not 0 < len(tally.open) <= _FEW:
        return []
    lines = []
    for target, reading in sorted(tally.open.items()):
        name = f" ({printable(reading.account_name, _NAME_LENGTH)})" if reading.account_name else ""
        known = f" of {reading.expected:,}" if reading.expected else ""
        lines.append(f"{target}{name}: {reading.findings:,}{known} findings")
    return lines


def about(seconds: float) -> str:
    """Return a rough duration: `40 s`, `3 min`, `1 h 20 min`."""
    if seconds < _MINUTE:
        return f"{max(1, round(seconds))} s"
    if seconds < _HOUR:
        return f"{round(seconds / _MINUTE)} min"
    hours, rest = divmod(seconds, _HOUR)
    return f"{int(hours)} h {int(rest // _MINUTE)} min"
