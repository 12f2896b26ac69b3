"""Findings that change while they are read: nothing breaks, and complete is said of what adds up."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from harvester.errors import CountMismatchError
from harvester.paging.channel import Call
from tests.fake_image_builder import FakeImageBuilder
from tests.test_repeats import LIST, SINKS, SPLITS, Withdrawing, held, read
from tests.test_splitting import Streamed, make


class Changing(FakeImageBuilder):
    """A service that pages by position, and whose findings come and go with every page read."""

    def __init__(self, *given: Any, comes: float, goes: float, seed: int, **named: Any) -> None:
        super().__init__(*given, **named)
        self._rng, self._comes, self._goes = random.Random(seed), comes, goes

    async def call(self, call: Call, signer: Any) -> Any:
        answer = await super().call(call, signer)
        if call.operation == LIST:
            for _ in range(int(self._comes + self._rng.random())):
                new = {**self.findings[0], "title": f"new {self._rng.random()}"}
                self.findings.insert(self._rng.randrange(len(self.findings)), new)
            for _ in range(int(self._goes + self._rng.random())):
                self.findings.pop(self._rng.randrange(len(self.findings)))
        return answer


@SINKS
@SPLITS
async def test_what_stays_is_read_while_others_come(sink: type[Streamed], split: str) -> None:
    service = Changing(make(450), comes=3.0, goes=0.0, seed=1)
    found, error = await read(service, sink(), split=split)
    assert error is None
    assert not held(FakeImageBuilder(make(450))) - found


@SINKS
@SPLITS
async def test_what_goes_is_read_or_not_and_nothing_else_is(
    sink: type[Streamed], split: str
) -> None:
    service = Changing(make(450), comes=0.0, goes=3.0, seed=1)
    found, error = await read(service, sink(), split=split)
    assert error is None or isinstance(error, CountMismatchError)
    assert not found - held(FakeImageBuilder(make(450)))


@given(
    comes=st.floats(0, 20),
    goes=st.floats(0, 20),
    seed=st.integers(0, 1000),
    sink=st.sampled_from([Streamed, Withdrawing]),
    split=st.sampled_from(["auto", "none", "severity"]),
    repeated=st.integers(0, 2),
)
async def test_whatever_changes_the_end_is_an_outcome(
    *, comes: float, goes: float, seed: int, sink: type[Streamed], split: str, repeated: int
) -> None:
    service = Changing(make(900), comes=comes, goes=goes, seed=seed, repeated=repeated)
    _, error = await read(service, sink(), split=split)
    assert error is None or isinstance(error, CountMismatchError)
    assert service.calls[LIST] < 400
