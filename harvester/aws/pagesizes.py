"""The page sizes that regions grant: learned from their answers, and probed again."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio

from harvester.model import Target

MOST_PER_PAGE = 100
"""The most that the newest service model allows (botocore 1.44.5); older ones say 25."""

SURE_PER_PAGE = 25
"""What every model allows."""

_FIRST_ANSWER_SECONDS = 2.0
_FIRST_PROBE = 10
"""Small pages after which a larger one is asked for again. Each refusal doubles the number: a
refusal may have had another reason, and a probe costs a region that refuses one call."""
_log = logging.getLogger("harvester")


@dataclass(slots=True)
class _Fallback:
    """A refusal of large pages: how many small ones are left until the next probe."""

    pause: int = _FIRST_PROBE
    left: int = _FIRST_PROBE
    probing: bool = False

    def begin_probe(self) -> bool:
        """Return whether to probe now; count a small page otherwise."""
        self.left -= 1
        if self.left >= 0:
            return False
        self.left, self.probing = self.pause, True  # other calls ask for small pages meanwhile
        return True

    def again(self) -> None:
        """Note another refusal; those of calls that were in flight with the first say nothing."""
        if self.probing:
            self.pause *= 2
            self.left, self.probing = self.pause, False


class PageSizes:
    """The page size to ask of each account and region, shared by all of them.

    A region's first answer holds for all its accounts. Once a region has granted a large page,
    a refusal concerns the account that got it. No refusal is final.

    Args:
        asked: findings a page; None is the most that the service may grant.
    """

    def __init__(self, asked: int | None) -> None:
        self._asked = asked or MOST_PER_PAGE
        self._granting: set[str] = set()
        self._fallbacks: dict[str | Target, _Fallback] = {}
        self._asking: dict[str, anyio.Event] = {}

    def of(self, target: Target) -> int:
        """Return the page size that a target grants, as far as it is known."""
        return SURE_PER_PAGE if self._small(target) and self._is_large else self._asked

    def next_for(self, target: Target) -> int:
        """Return the page size to ask for now: now and then it is a probe of a larger one."""
        fallback = self._small(target)
        small = self._is_large and fallback is not None and not fallback.begin_probe()
        return SURE_PER_PAGE if small else self._asked

    def is_known(self, region: str) -> bool:
        """Return whether nothing is to be found out of a region."""
        return region in self._granting or region in self._fallbacks or not self._is_large

    def granted(self, target: Target, size: int) -> None:
        """Note that a target granted a page of this size."""
        if size > SURE_PER_PAGE:
            if target.region not in self._granting or self._small(target):
                _log_learned(target, size)
            self._granting.add(target.region)
            self._fallbacks.pop(target.region, None)
            self._fallbacks.pop(target, None)

    def refused(self, target: Target) -> None:
        """Note that a target refused a large page, and granted a small one in its place."""
        key = target if target.region in self._granting else target.region
        known = self._fallbacks.get(key)
        if known is None:
            _log_learned(target, SURE_PER_PAGE)
            self._fallbacks[key] = _Fallback()
        else:
            known.again()

    @asynccontextmanager
    async def turn(self, region: str) -> AsyncIterator[None]:
        """Hold the block back, for a moment, while another call finds out what is granted.

        A wide sweep would otherwise have as many calls refused as it has in flight. Only for
        a moment, since the first call may be of an account that is throttled for long.
        """
        asking = self._asking.get(region)
        if asking is not None:
            with anyio.move_on_after(_FIRST_ANSWER_SECONDS):
                await asking.wait()
            yield
            return
        asking = self._asking[region] = anyio.Event()
        try:
            yield
        finally:
            del self._asking[region]
            asking.set()

    @property
    def _is_large(self) -> bool:
        return self._asked > SURE_PER_PAGE

    def _small(self, target: Target) -> _Fallback | None:
        return self._fallbacks.get(target) or self._fallbacks.get(target.region)


def _log_learned(target: Target, size: int) -> None:
    fields = {"account": target.account, "region": target.region, "page_size": size}
    _log.debug(
        "%s grants pages of %s findings",
        target,
        size,
        extra={"event": "page_size_learned", **fields},
    )
