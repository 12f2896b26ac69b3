"""Time as a parameter, so that what waits can be tested without waiting."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio


@dataclass(frozen=True, slots=True)
class Clock:
    """A monotonic clock in seconds and the sleep that goes with it.

    It is the clock of asyncio's event loop too, read without asking first which loop runs.
    """

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
