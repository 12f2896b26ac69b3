"""The token loop: to the absent token, or to a clear word why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.aws.bodies import decode_line, page_of
from harvester.errors import ChainError, DamagedAnswerError, RefusedError, TokenRefusedError
from harvester.model import BROKEN, Condition, Finding, Page, Query, Target
from harvester.paging.pager import ChainLimits, Pager
from harvester.tally import Tally

Answers = Mapping[str | None, Sequence[Page | Exception]]

TARGET = Target("111122223333", "us-east-1")
QUERY = Query(TARGET)
REFUSED = TokenRefusedError("InvalidPaginationTokenException", "no", operation="Operation")


def _page(number: int | None, next_token: str | None, *, severity: str = "HIGH") -> Page:
    return page_of([] if number is None else [{"n": number, "severity": severity}], next_token)


class Service:
    """Answers by token; the answers of one token in turn, the last of them for ever."""

    def __init__(self, answers: Answers) -> None:
        self._answers = {token: list(some) for token, some in answers.items()}
        self.asked: list[str | None] = []

    async def fetch(self, token: str | None) -> Page:
        self.asked.append(token)
        some = self._answers[token]
        answer = some.pop(0) if len(some) > 1 else some[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Sink:
    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.tokens: list[str | None] = []
        self.restarts = 0

    async def write(self, query: Query, page: Page) -> None:
        assert query.target == TARGET
        assert len(page.facets) == len(page.lines)
        self.findings += map(decode_line, page.lines)
        self.tokens.append(page.next_token)

    async def replace(self, queries: Sequence[Query], by: Query) -> None:
        assert list(queries) == [by]
        self.findings.clear()
        self.tokens.clear()
        self.restarts += 1

    @property
    def numbers(self) -> list[int]:
        return [finding["n"] for finding in self.findings]


def _tally() -> Tally:
    tally = Tally(lambda: 0.0)
    tally.found(TARGET)
    tally.begun(TARGET)
    return tally


async def _read(
    answers: Answers,
    *,
    sink: Sink,
    query: Query = QUERY,
    tally: Tally | None = None,
    **limits: Any,
) -> list[str | None]:
    """Read a chain; returns the tokens asked for. What was counted must be what is kept."""
    service, tally = Service(answers), tally or _tally()
    try:
        await Pager(query, service.fetch, sink, tally, limits=ChainLimits(**limits)).read()
    finally:
        assert tally.findings == tally.open[TARGET].findings == len(sink.findings)
        assert +tally.severities == Counter(one["severity"] for one in sink.findings)
    return service.asked


async def test_a_chain_is_read_to_its_absent_token() -> None:
    sink, tally = Sink(), _tally()
    asked = await _read(
        {None: [_page(1, "a")], "a": [_page(2, "b")], "b": [_page(3, None)]}, sink=sink, tally=tally
    )

    assert asked == [None, "a", "b"]
    assert sink.numbers == [1, 2, 3]
    assert sink.tokens == ["a", "b", None], "where the query stands after each page"
    assert (tally.pages, tally.findings, tally.severities) == (3, 3, {"HIGH": 3})
    assert tally.open[TARGET].pages == 3


ODD = DamagedAnswerError("UnexpectedAnswer", "odd", operation="Operation")


async def test_a_token_that_cannot_be_sent_ends_the_chain_with_its_findings_kept() -> None:
    sink = Sink()
    answers: Answers = {
        None: [_page(1, "a")],
        "a": [replace(_page(2, BROKEN), doubt=ODD)],
    }
    with pytest.raises(DamagedAnswerError) as caught:
        await _read(answers, sink=sink)

    assert caught.value is ODD
    assert sink.numbers == [1, 2]
    assert sink.tokens == ["a", BROKEN], "a resume reads the query again"


async def test_a_page_that_lacks_items_is_written_and_the_chain_is_read_to_its_end() -> None:
    sink, tally = Sink(), _tally()
    answers: Answers = {
        None: [_page(1, "a")],
        "a": [replace(_page(2, "b"), doubt=ODD)],
        "b": [_page(3, "c")],
        "c": [_page(4, None)],
    }
    with pytest.raises(DamagedAnswerError) as caught:
        await _read(answers, sink=sink, tally=tally)

    assert caught.value is ODD
    assert sink.numbers == [1, 2, 3, 4]
    assert sink.tokens == ["a", BROKEN, BROKEN, BROKEN], "a resume reads the query again"
    assert tally.pages == 4


async def test_an_empty_target_is_one_page() -> None:
    sink = Sink()

    assert await _read({None: [_page(None, None)]}, sink=sink) == [None]
    assert (sink.findings, sink.tokens) == ([], [None])


@given(sizes=st.lists(st.integers(0, 3), min_size=1, max_size=30), conditional=st.booleans())
async def test_empty_pages_anywhere_end_nothing(sizes: list[int], *, conditional: bool) -> None:
    answers: dict[str | None, Sequence[Page | Exception]] = {}
    everything: list[Finding] = []
    for number, size in enumerate(sizes):
        findings = [
            {"n": len(everything) + n, "severity": ("LOW", "HIGH", "CRITICAL")[n]}
            for n in range(size)
        ]
        everything += findings
        token, following = f"t{number}" if number else None, f"t{number + 1}"
        answers[token] = [page_of(findings, following if number + 1 < len(sizes) else None)]
    kept = [one for one in everything if not conditional or one["severity"] != "LOW"]
    conditions = (Condition("severity", ("HIGH", "CRITICAL")),) if conditional else ()
    sink, tally = Sink(), _tally()
    await _read(answers, sink=sink, query=Query(TARGET, conditions=conditions), tally=tally)

    assert sink.findings == kept
    assert sink.tokens == [*list(answers)[1:], None], "of pages without findings too"
    assert tally.pages == len(sizes)


async def test_a_repeated_token_that_passes_is_no_loss() -> None:
    sink = Sink()
    answers: Answers = {
        None: [_page(1, "a")],
        "a": [_page(2, "a"), _page(2, "a"), _page(2, "b")],
        "b": [_page(3, None)],
    }

    assert await _read(answers, sink=sink) == [None, "a", "a", "a", "b"]
    assert sink.numbers == [1, 2, 3]


async def test_a_token_that_keeps_repeating_ends_the_chain_with_what_was_read() -> None:
    sink, tally = Sink(), _tally()
    answers: Answers = {None: [_page(1, "a")], "a": [_page(2, "b")], "b": [_page(3, "b")]}
    with pytest.raises(ChainError) as caught:
        await _read(answers, sink=sink, tally=tally)

    assert caught.value.code == "TokenRepeated"
    assert (caught.value.account, caught.value.region) == ("111122223333", "us-east-1")
    assert sink.numbers == [1, 2, 3], "the page itself is kept, and once"
    assert tally.pages == 3


async def test_tokens_in_a_cycle_end_the_chain() -> None:
    sink = Sink()
    answers: Answers = {None: [_page(1, "a")], "a": [_page(2, "b")], "b": [_page(3, "a")]}
    with pytest.raises(ChainError, match="TokenRepeated"):
        await _read(answers, sink=sink)

    assert sink.numbers == [1, 2, 3]


async def test_empty_pages_without_end_are_given_up() -> None:
    endless: dict[str | None, Sequence[Page]] = {
        f"t{n}": [_page(None, f"t{n + 1}")] for n in range(100)
    }
    sink = Sink()
    with pytest.raises(ChainError, match="EndlessEmptyPages"):
        await _read({None: [_page(1, "t0")], **endless}, sink=sink, empty_pages=5)
    assert sink.numbers == [1]


async def test_empty_pages_count_in_a_row_only() -> None:
    answers: dict[str | None, Sequence[Page | Exception]] = {None: [_page(None, "t0")]}
    answers |= {f"t{n}": [_page(n if n % 4 == 0 else None, f"t{n + 1}")] for n in range(40)}
    answers["t40"] = [_page(None, None)]
    sink = Sink()
    await _read(answers, sink=sink, empty_pages=5)

    assert sink.numbers == list(range(0, 40, 4))


async def test_a_token_refused_once_is_sent_again() -> None:
    sink = Sink()
    answers: Answers = {None: [_page(1, "a")], "a": [REFUSED, _page(2, None)]}

    assert await _read(answers, sink=sink) == [None, "a", "a"]
    assert (sink.numbers, sink.restarts) == ([1, 2], 0)


async def test_a_dead_token_starts_the_query_over_and_takes_its_counts_back() -> None:
    sink, tally = Sink(), _tally()
    answers: Answers = {
        None: [_page(1, "a", severity="LOW"), _page(10, "a2", severity="CRITICAL")],
        "a": [_page(2, "b")],
        "b": [REFUSED],
        "a2": [_page(20, None)],
    }
    asked = await _read(answers, sink=sink, tally=tally)

    assert asked == [None, "a", "b", "b", None, "a2"]
    assert (sink.numbers, sink.restarts) == ([10, 20], 1)
    assert +tally.severities == {"CRITICAL": 1, "HIGH": 1}


async def test_after_starting_over_the_same_tokens_are_no_repetition() -> None:
    sink = Sink()
    answers: Answers = {
        None: [_page(1, "a")],
        "a": [REFUSED, REFUSED, _page(2, "b")],
        "b": [_page(3, None)],
    }
    await _read(answers, sink=sink)

    assert (sink.numbers, sink.restarts) == ([1, 2, 3], 1)


async def test_starting_over_takes_back_no_other_querys_counts() -> None:
    sink, tally = Sink(), _tally()
    other = [{"n": 100, "severity": "LOW"}]
    tally.read(TARGET, Counter({"LOW": 1}))
    sink.findings = list(other)
    answers: Answers = {None: [_page(1, "a")], "a": [REFUSED, REFUSED, _page(2, None)]}
    service = Service(answers)
    await Pager(QUERY, service.fetch, sink, tally).read()

    assert tally.findings == tally.open[TARGET].findings == 3
    assert +tally.severities == {"LOW": 1, "HIGH": 2}


@pytest.mark.parametrize("restarts", [0, 1, 3])
async def test_starting_over_has_a_limit(restarts: int) -> None:
    sink = Sink()
    with pytest.raises(TokenRefusedError) as caught:
        await _read({None: [_page(1, "a")], "a": [REFUSED]}, sink=sink, restarts=restarts)

    assert caught.value is REFUSED
    assert (sink.restarts, sink.numbers) == (restarts, [1])


async def test_a_refusal_of_no_token_is_final() -> None:
    sink = Sink()
    with pytest.raises(TokenRefusedError):
        await _read({None: [REFUSED]}, sink=sink)
    assert sink.restarts == 0


@pytest.mark.parametrize("kind", [RefusedError, DamagedAnswerError])
async def test_other_errors_pass_with_what_was_read_kept(kind: type[RefusedError]) -> None:
    error, sink = kind("Code", "message", operation="Operation"), Sink()
    with pytest.raises(kind) as caught:
        await _read({None: [_page(1, "a")], "a": [error]}, sink=sink)

    assert caught.value is error
    assert sink.numbers == [1]


async def test_tokens_of_any_text_and_length_are_told_apart() -> None:
    tokens = ["A" * 65_535, "A" * 65_534 + "B", "\ud800", "\udfff", "漏", "0", " "]
    answers: Answers = {
        token: [_page(n, following)]
        for n, (token, following) in enumerate(zip([None, *tokens], [*tokens, None], strict=True))
    }
    sink = Sink()
    await _read(answers, sink=sink)

    assert sink.numbers == list(range(8))
