"""Letting calls that are under way finish when a run is stopped."""

from __future__ import annotations

from typing import Any

import anyio

from harvester.clock import loop_time
from harvester.paging.channel import Call, Wire


class LastCalls:
    """A wire whose calls under way can be kept from being cancelled, for a moment.

    A page whose call was sent is thus written, and need not be asked for again. All else that
    waits (for the pace, for a retry, for a slot) ends at once.

    Args:
        wire: makes the calls.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._scopes: set[anyio.CancelScope] = set()

    def finish_within(self, seconds: float) -> None:
        """Shield the calls under way from cancellation for so many seconds."""
        deadline = loop_time() + seconds
        for scope in self._scopes:
            scope.shield = True
            scope.deadline = min(scope.deadline, deadline)

    async def open(self, service: str, region: str) -> None:
        """Make ready for calls."""
        await self._wire.open(service, region)

    async def call(self, call: Call, signer: Any) -> Any:
        """Make one call."""
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                return await self._wire.call(call, signer)
            finally:
                self._scopes.discard(scope)
        # The moment is over, and the scopes around this one are cancelled.
        return await anyio.sleep_forever()
