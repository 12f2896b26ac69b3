"""SIGINT, SIGTERM and SIGHUP from the first moment of a process to its last.

The first signal stops the work, the second one ends the process. Signals that the parent had
ignored (`nohup`, a shell's background jobs) stay ignored.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

_FIRST_PROCESS = 1
_COMPANY_SECONDS = 0.5


class Interrupted(SystemExit):
    """A signal came before there was work to stop, or when it could just be abandoned."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(128 + number)
        self.number = number


class Signals:
    """The signals of a process.

    Attributes:
        caught: the first signal that came, alone in a list; empty before.
    """

    def __init__(self) -> None:
        self.caught: list[signal.Signals] = []
        self._caught_at = 0.0
        self._on_first: Callable[[signal.Signals], None] = _interrupt

    def install(self) -> None:
        """Handle the signals, except those that are ignored."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)

    @contextmanager
    def stopping(self, stop: Callable[[signal.Signals], None]) -> Iterator[None]:
        """Have the first signal call `stop` on the running event loop during the block.

        After the block the first signal does nothing: the work is done, and its result counts.
        """
        from asyncio import get_running_loop

        loop = get_running_loop()
        self._on_first = lambda number: _post(loop, stop, number)
        try:
            yield
        finally:
            self._on_first = _ignore

    def _handle(self, number: int, _: FrameType | None) -> None:
        caught = signal.Signals(number)
        if self.caught:
            if not self._comes_along(caught):
                _end_at_once(caught)
            return
        self.caught.append(caught)
        self._caught_at = monotonic()
        if caught is not signal.SIGHUP and os.getpid() != _FIRST_PROCESS:
            # From here on the kernel ends the process, even one that hangs. It does not do so
            # for the first process of a container, where the handler has to stay.
            for other in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(other) == self._handle:
                    signal.signal(other, signal.SIG_DFL)
        self._on_first(caught)

    def _comes_along(self, number: signal.Signals) -> bool:
        """Whether a signal belongs to the first one: SIGHUP is sent in company.

        A terminal that closes sends it more than once, and systemd together with SIGTERM, in an
        order that is lost.
        """
        if number is signal.SIGHUP:
            return True
        is_soon = monotonic() - self._caught_at < _COMPANY_SECONDS
        return self.caught[0] is signal.SIGHUP and is_soon


def _end_at_once(number: signal.Signals) -> None:
    os._exit(128 + number)


def _interrupt(number: signal.Signals) -> None:
    raise Interrupted(number)


def _ignore(_: signal.Signals) -> None:
    """Do nothing."""


def _post(
    loop: asyncio.AbstractEventLoop, stop: Callable[[signal.Signals], None], number: signal.Signals
) -> None:
    loop.call_soon_threadsafe(stop, number)
