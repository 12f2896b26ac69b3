"""Short turns of the event loop: pieces of work that come together are spread over turns.

An application that uses the library shares its event loop with a sweep. Sixty answers may arrive
in one turn of the loop; decoded at once, they would hold up everything else for a tenth of a
second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

import anyio.lowlevel

T = TypeVar("T")

_BUDGET_SECONDS = 0.01
"""How long pieces of work may take together in one turn of the loop, but for the last of them."""


class TurnBudget:
    """Runs pieces of work on the event loop, only as many in one turn as fit into a budget."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._spent = 0.0
        self._counting = False

    async def run(self, work: Callable[[], T]) -> T:
        """Return `work()`, called in this turn of the loop or in a later one.

        The wait can't be cancelled: an answer that has arrived is to be used.
        """
        while self._spent >= _BUDGET_SECONDS:
            await anyio.lowlevel.cancel_shielded_checkpoint()
        if not self._counting:
            self._counting = True
            asyncio.get_running_loop().call_soon(self._next_turn)
        began = self._now()
        try:
            result = work()
        finally:
            self._spent += self._now() - began
        return result

    def _next_turn(self) -> None:
        self._spent, self._counting = 0.0, False
