"""The token loop, gone on with where an earlier run was killed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.aws.bodies import decode_line, page_of
from harvester.errors import ChainError, TokenRefusedError
from harvester.model import BROKEN, Cursor, Page, Query, Target
from harvester.paging.pager import Pager
from harvester.tally import Tally

TARGET = Target("111122223333", "us-east-1")
QUERY = Query(TARGET)


class KilledError(BaseException):
    """What ends a run without a word."""


class Kept:
    """What is left of a run that is killed: as the journal, what was written and the cursor."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.cursor = Cursor()
        self.left = 0

    async def write(self, query: Query, page: Page) -> None:
        assert query == QUERY
        self.numbers += [decode_line(line)["n"] for line in page.lines]
        self.cursor = self.cursor.after(page)
        self.left -= 1
        if self.left == 0:
            raise KilledError

    async def replace(self, queries: Sequence[Query], by: Query) -> None:
        assert list(queries) == [by]
        self.numbers, self.cursor = [], Cursor()


class Chain:
    """A chain of pages; the token of page n is its number. A page may lead back to an earlier.

    The finding of a page is its number, but for pages that hold a twin of another's.
    """

    def __init__(
        self, pages: int, back: dict[int, int] | None = None, twins: dict[int, int] | None = None
    ) -> None:
        self.pages, self.back, self.twins = pages, back or {}, twins or {}
        self.refused: set[str] = set()
        self.asked: list[str | None] = []

    async def fetch(self, token: str | None) -> Page:
        self.asked.append(token)
        if token in self.refused:
            raise TokenRefusedError("InvalidPaginationTokenException", "no", operation="O")
        number = int(token or 0)
        following = self.back.get(number, number + 1)
        finding = {"n": self.twins.get(number, number), "severity": "HIGH"}
        return page_of([finding], f"{following}" if following < self.pages else None)


async def _run(chain: Chain, kept: Kept, *, until: int = 0, hold: bool = False) -> Tally:
    """Read on, at most so many pages; what is counted must be what is kept."""
    tally = Tally(lambda: 0.0)
    tally.found(TARGET)
    kept.left = until
    pager = Pager(QUERY, chain.fetch, kept, tally, cursor=kept.cursor, hold=hold)
    try:
        await pager.read()
    finally:
        if kept.left or not until:
            assert tally.findings == len(kept.numbers) == pager.written
    return tally


@given(pages=st.integers(1, 12), kills=st.lists(st.integers(1, 5), max_size=4))
async def test_it_goes_on_at_its_token_and_counts_what_was_read(
    pages: int, kills: list[int]
) -> None:
    chain, kept = Chain(pages), Kept()
    for number in kills:
        if not kept.cursor.done:
            with pytest.raises(KilledError):
                await _run(chain, kept, until=min(number, pages - len(kept.numbers)))
    tally = await _run(chain, kept)

    assert kept.numbers == list(range(pages))
    assert chain.asked == [None, *map(str, range(1, pages))], "no page twice"
    assert (tally.findings, tally.pages, tally.severities) == (pages, pages, {"HIGH": pages})


async def test_a_token_that_went_stale_meanwhile_starts_it_over() -> None:
    chain, kept = Chain(6), Kept()
    with pytest.raises(KilledError):
        await _run(chain, kept, until=4)
    chain.refused = {"4"}
    del chain.asked[:]
    with pytest.raises(TokenRefusedError):
        await _run(chain, kept)
    assert chain.asked[:3] == ["4", "4", None], "once may be a hiccup"

    chain.refused = set()
    await _run(chain, kept)
    assert kept.numbers == list(range(6))


@pytest.mark.parametrize("until", [0, 1, 2, 3, 4, 5, 7, 11])
async def test_a_cycle_gives_each_page_once_wherever_it_was_killed(until: int) -> None:
    undisturbed, killed = Kept(), Kept()
    with pytest.raises(ChainError, match="TokenRepeated"):
        await _run(Chain(9, {4: 2}), undisturbed)
    chain = Chain(9, {4: 2})
    with pytest.raises((KilledError, ChainError)):
        await _run(chain, killed, until=until)
    with pytest.raises(ChainError, match="TokenRepeated"):
        await _run(chain, killed)

    assert killed.numbers == undisturbed.numbers == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("until", range(6))
async def test_a_cycle_that_is_gone_leaves_each_page_once(until: int) -> None:
    chain, kept = Chain(9, {4: 2}), Kept()
    with pytest.raises((KilledError, ChainError)):
        await _run(chain, kept, until=until)
    if until == 0:
        assert kept.cursor.token == BROKEN
        assert not kept.cursor.done
    chain.back = {}
    await _run(chain, kept)

    assert kept.numbers == list(range(9))


@pytest.mark.parametrize("until", range(1, 6))
async def test_what_a_killed_run_held_back_is_not_lost_with_it(until: int) -> None:
    chain, kept = Chain(6, twins={2: 1}), Kept()
    with pytest.raises(KilledError):
        await _run(chain, kept, until=until, hold=True)
    await _run(chain, kept)

    assert kept.numbers == [0, 1, 1, 3, 4, 5]
    again = until > 2  # page 2 is the twin's
    assert chain.asked.count(None) == 1 + again, "what held nothing back goes on at its token"
