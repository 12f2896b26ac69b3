"""Findings that a service gives on two pages in a row: held back until a count says what they are."""

from __future__ import annotations

from dataclasses import replace

from harvester.model import Page

_LONGEST = 10
_MOST_BYTES = 16 << 20


class Repeats:
    """Holds back what the end of one page and the beginning of the next have in common.

    A service that pages by position gives the last findings of a page once more where others
    came in before them meanwhile. But two findings may be equal as well, and have no id: only
    the service's count can tell, after the last page. Up to ten findings in a row are
    recognized, and 16 MiB in all are held.
    """

    def __init__(self) -> None:
        self._tail = b""
        self._held: list[Page] = []
        self._room = _MOST_BYTES

    def __bool__(self) -> bool:
        """Whether something is held back."""
        return bool(self._held)

    def rest(self, page: Page) -> Page:
        """Hold back what the page repeats, and return the rest of it."""
        text = page.text
        length = self._overlap(text)
        if text:
            self._tail = text[_tail_of(text) :]
        if not 0 < length <= self._room:
            return page
        self._room -= length
        lines = text.count(b"\n", 0, length)
        self._held.append(Page(text[:length], page.facets[:lines], None))
        return replace(page, text=text[length:], facets=page.facets[lines:])

    def take(self, token: str | None) -> Page:
        """Return all that is held back as one page with a next token, and hold it no more."""
        held, self._held = self._held, []
        facets = [one for page in held for one in page.facets]
        return Page(b"".join(page.text for page in held), facets, token)

    def _overlap(self, text: bytes) -> int:
        tail = self._tail
        last = tail[tail.rfind(b"\n", 0, -1) + 1 :]
        place = text.find(last, 0, len(tail)) if last else -1
        length = place + len(last)
        return length if place >= 0 and tail.endswith(text[:length]) else 0


def _tail_of(text: bytes) -> int:
    """Return where the last lines of a text begin."""
    start = len(text)
    for _ in range(_LONGEST):
        start = text.rfind(b"\n", 0, max(start - 1, 0)) + 1
    return start
