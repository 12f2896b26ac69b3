"""NDJSON to standard output."""

from __future__ import annotations

import os
import re
import stat
import sys

import anyio

from harvester.clock import loop_time
from harvester.errors import OutputClosedError, OutputError
from harvester.model import Page, Query
from harvester.output.sink import StreamSink
from harvester.portability import can_write_now

# A pipe that is ready takes at least this much without blocking (PIPE_BUF on Linux).
_CHUNK = 4096

_LAST_SECONDS = 1.0

# What JSON leaves as it is and a terminal may obey: DEL, C1 controls, bidirectional and
# zero-width format characters, line separators, private use.
_UNSAFE = re.compile(
    "[\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ue000-\uf8ff]"
)


class StdoutSink(StreamSink):
    """Writes lines to a file descriptor, standard output as a rule.

    A reader that stands still holds up the sweep and not the event loop, so that a signal
    or a deadline still ends it.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        super().__init__()
        if descriptor is None:
            if sys.stdout is None:  # closed before we were started; the number may be reused
                raise OutputError("standard output is closed", hint="give a file: --output FILE")
            sys.stdout.flush()
            descriptor = 1
        self._descriptor = descriptor
        try:
            mode = os.fstat(descriptor).st_mode
        except OSError as error:
            raise OutputError(f"standard output cannot be used: {error.strerror}") from error
        self._may_block = not stat.S_ISREG(mode)
        self._terminal = os.isatty(descriptor)
        self._writing = anyio.Lock()
        self._scopes: set[anyio.CancelScope] = set()
        self._last_seconds: float | None = None
        self._rest = memoryview(b"")  # of a page that is being written

    async def write(self, query: Query, page: Page) -> None:
        """Write those findings of a page that were not written before.

        In turn, since pages of other queries must not come in between. Those that wait are not
        looked at yet: as lines they would take their memory twice.
        """
        with anyio.CancelScope() as scope:
            self._shield(scope)
            self._scopes.add(scope)
            try:
                async with self._writing:
                    await super().write(query, page)
            finally:
                self._scopes.discard(scope)
        if scope.cancelled_caught:  # too late; the scopes around this one are cancelled
            await anyio.sleep_forever()

    async def send(self, lines: list[bytes]) -> None:
        """Write the lines, all of them."""
        data = b"".join(lines)
        await self._write(memoryview(harmless(data) if self._terminal else data))

    def finish_within(self, seconds: float) -> None:
        """Let pages be written whole, or a reader would find half a line.

        Each for a second at most: a reader who takes longer may stand still for good.
        """
        self._last_seconds = min(seconds, _LAST_SECONDS)
        for scope in self._scopes:
            self._shield(scope)

    def _shield(self, scope: anyio.CancelScope) -> None:
        if self._last_seconds is not None:
            scope.shield, scope.deadline = True, loop_time() + self._last_seconds

    async def _write(self, data: memoryview) -> None:
        # First what is left of a page whose writer was cancelled, as those of a target are where
        # one of them is refused: its last line would go on with the first of this page.
        await self._write_rest()
        self._rest = data
        try:
            await self._write_rest()
        except BaseException:
            if len(self._rest) == len(data):
                self._rest = memoryview(b"")
            raise
        # Not to be cancelled: what was written has to be counted.
        await anyio.lowlevel.cancel_shielded_checkpoint()

    async def _write_rest(self) -> None:
        while self._rest:
            chunk = self._rest[:_CHUNK] if self._may_block else self._rest
            if self._may_block and not can_write_now(self._descriptor):
                await anyio.wait_writable(self._descriptor)
            try:
                self._rest = self._rest[os.write(self._descriptor, chunk) :]
            except BlockingIOError:
                await anyio.wait_writable(self._descriptor)
            except BrokenPipeError:
                raise OutputClosedError("the reader of standard output went away") from None
            except OSError as error:
                raise OutputError(f"standard output cannot be written: {error.strerror}") from error


def harmless(lines: bytes) -> bytes:
    """Return the same JSON with what a terminal might obey written as escapes."""
    text = lines.decode("utf-8")
    return _UNSAFE.sub(lambda found: f"\\u{ord(found.group()):04x}", text).encode("utf-8")
