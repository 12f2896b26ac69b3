"""Time as a parameter, so that what waits can be tested without waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio


def _wall() -> float:
    return time.time()


@dataclass(frozen=True, slots=True)
class Clock:
    """A monotonic clock in seconds, the sleep that goes with it, and the time of day.

    The monotonic clock is that of asyncio's event loop, read without asking first which loop
    runs. `wall` is in seconds since 1970, and may be set back at any time.
    """

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    wall: Callable[[], float] = _wall


def loop_time() -> float:
    """Return the time of the running event loop, by which deadlines of cancel scopes go.

    Callbacks of the loop may call it too: anyio's own function may not know there which library
    runs (it asks sniffio, where that is installed, and sniffio looks for a task).
    """
    return asyncio.get_running_loop().time()
