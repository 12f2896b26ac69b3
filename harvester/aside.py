"""Running what may block on an event loop of its own, in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Generic, TypeVar

import anyio

T = TypeVar("T")

_CLEANUP_SECONDS = 3.0
"""How long a cancelled call may take to clean up before its thread is left to itself."""


async def call_aside(do: Callable[[], Awaitable[T]], *, seconds: float) -> T:
    """Return what `do()` returns, awaited in a thread with an event loop of its own.

    The caller's loop is never blocked, whatever `do` does. Cancelled, or after `seconds`, `do`
    is cancelled and its cleanup waited for. A thread that is blocked and cannot be cancelled is
    abandoned: it does not keep the process from ending.

    Raises:
        TimeoutError: `do` did not return in time.
    """
    call = _Call(do)
    threading.Thread(target=call.run, name="harvester-aside", daemon=True).start()
    try:
        with anyio.fail_after(seconds):
            await call.done.wait()
    except BaseException:
        call.cancel()
        with anyio.CancelScope(shield=True), anyio.move_on_after(_CLEANUP_SECONDS):
            await call.done.wait()
        raise
    return call.result()


class _Call(Generic[T]):
    """One call: `done` is set, on the caller's loop, when it ended."""

    def __init__(self, do: Callable[[], Awaitable[T]]) -> None:
        self.done = anyio.Event()
        self._do = do
        self._caller = asyncio.get_running_loop()
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._cancelled = False
        self._values: list[T] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        """Make the call; in the thread."""
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._perform())
        except BaseException as error:  # noqa: BLE001  # raised by the caller, see `result`
            self._error = error
        with suppress(RuntimeError):  # the caller's loop is closed: nobody waits any more
            self._caller.call_soon_threadsafe(self.done.set)

    def cancel(self) -> None:
        """Cancel the call; from the caller's thread."""
        with suppress(RuntimeError):  # it has just ended
            self._loop.call_soon_threadsafe(self._cancel)

    def result(self) -> T:
        """Return what the call returned, or raise what it raised."""
        if self._error is not None:
            raise self._error
        return self._values[0]

    async def _perform(self) -> None:
        if not self._cancelled:
            self._task = asyncio.current_task()
            self._values.append(await self._do())

    def _cancel(self) -> None:
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()
