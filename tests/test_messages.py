"""What processes say to each other arrives as it was said, in whatever pieces."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester import errors
from harvester.model import Condition, Cursor, Query, Standing, Target
from harvester.paging.learned import Learned
from harvester.processes.frames import Frames, frame
from harvester.processes.messages import (
    Begun,
    Calls,
    Failure,
    Grant,
    Message,
    Order,
    Over,
    Replaced,
    Said,
    Setup,
    Stop,
    Wish,
    Wrote,
)
from harvester.settings import AwsSettings, FindingSettings

# Lone surrogates too: services send them, in tokens and severities.
_TEXTS = st.text(st.characters(codec=None), max_size=20)
_COUNTS = st.dictionaries(_TEXTS, st.integers(-5, 1 << 40), max_size=4)
_NUMBERS = st.none() | st.integers(0)  # of any size, as a service may count
_TARGETS = st.builds(Target, _TEXTS, _TEXTS)
_CONDITIONS = st.builds(Condition, _TEXTS, st.lists(_TEXTS, max_size=3).map(tuple))
_QUERIES = st.builds(Query, _TARGETS, _TEXTS, _TEXTS, st.lists(_CONDITIONS, max_size=2).map(tuple))
_CURSORS = st.builds(
    Cursor, st.none() | _TEXTS, done=st.booleans(), pages=st.integers(0, 9), severities=_COUNTS
)
_STANDINGS = st.builds(
    Standing,
    complete=st.just(False),
    expected=_NUMBERS,
    cursors=st.dictionaries(_QUERIES, _CURSORS, max_size=3),
)
_RATES = st.none() | st.floats(0.1, 1000)
_BUCKETS = st.none() | st.builds(Learned, st.floats(0.1, 1000), st.none() | st.floats(1, 10))
_FAILURES = st.builds(Failure, _TEXTS, _TEXTS, st.none() | _TEXTS, _TEXTS, _TEXTS)
_MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(
        Setup,
        st.builds(FindingSettings, filters=st.just({"severity": ("HIGH", "LOW")})),
        st.builds(AwsSettings, profile=st.none() | st.just("audit")),
        st.integers(1, 1000),
        _RATES,
        st.booleans(),
        st.dictionaries(st.sampled_from(["", "harvester"]), st.integers(0, 50)),
    ),
    st.builds(Order, _TARGETS, _BUCKETS, st.floats(0, 9), st.booleans()),
    st.builds(Order.going_on, st.builds(Order, _TARGETS, _BUCKETS, st.floats(0, 9)), _STANDINGS),
    st.builds(Stop, st.floats(0, 9)),
    st.builds(Wish, _TEXTS, st.none() | _TEXTS),
    st.builds(Grant, _TEXTS, _TEXTS, _TEXTS, st.none() | _TEXTS, st.floats(0, 9)),
    st.builds(Grant, _TEXTS, failure=_FAILURES),
    st.builds(Begun, _TARGETS, st.lists(_QUERIES, max_size=3).map(tuple), _NUMBERS),
    st.builds(Wrote, _QUERIES, st.none() | _TEXTS, _COUNTS),
    st.builds(Replaced, st.lists(_QUERIES, max_size=3).map(tuple), _QUERIES),
    st.builds(
        Over,
        _TARGETS,
        st.none() | _FAILURES,
        _BUCKETS,
        st.none() | st.lists(_TEXTS, max_size=3).map(tuple),
    ),
    st.builds(Calls, st.integers(0), st.integers(0), st.integers(0)),
    st.builds(Said, _TEXTS, st.integers(0, 50), _TEXTS),
)
Heard = list[tuple[Any, bytes]]


def _hear(data: bytes, sizes: list[int], frames: Frames) -> Heard:
    """Take bytes in pieces of these sizes, over and over, as far as there is room."""
    heard: Heard = []
    turn = 0
    while data:
        room = frames.room()
        size = min(len(data), len(room), sizes[turn % len(sizes)])
        room[:size] = data[:size]
        heard += frames.take(size)
        data, turn = data[size:], turn + 1
    return heard


@given(
    st.lists(st.tuples(_MESSAGES, st.binary(max_size=300)), max_size=8),
    st.lists(st.integers(1, 400), min_size=1, max_size=5),
)
def test_messages_come_whole_and_in_order_in_pieces_of_any_size(
    said: Heard, sizes: list[int]
) -> None:
    data = b"".join(part for message, text in said for part in frame(message, text))
    assert _hear(data, sizes, Frames(size=64)) == said


@given(st.tuples(_MESSAGES, st.binary(max_size=300)), st.data())
def test_what_is_not_whole_yet_is_not_heard(one: tuple[Message, bytes], data: Any) -> None:
    whole = b"".join(frame(*one))
    cut = data.draw(st.integers(0, len(whole) - 1))
    frames = Frames(size=64)
    assert _hear(whole[:cut], [7], frames) == []
    assert _hear(whole[cut:], [7], frames) == [one]


@given(_TARGETS, _BUCKETS, _STANDINGS)
def test_where_a_target_stands_is_known_at_the_other_end(
    target: Target, learned: Learned | None, standing: Standing
) -> None:
    order = Order(target, learned, 2.5).going_on(standing)
    ((heard, _),) = _hear(b"".join(frame(order)), [50], Frames())
    assert heard.standing == standing
    ((heard, _),) = _hear(b"".join(frame(Order(target, learned))), [50], Frames())
    assert heard.standing is None


_KINDS = [
    one
    for one in vars(errors).values()
    if isinstance(one, type) and issubclass(one, errors.HarvesterError)
]


@pytest.mark.parametrize("kind", _KINDS, ids=lambda one: one.__name__)
def test_every_error_is_the_same_at_the_other_end(kind: type[errors.HarvesterError]) -> None:
    if issubclass(kind, errors.ServiceError):
        error: errors.HarvesterError = kind(
            "SomeCode", "words", operation="ListX", account="111122223333", region="r-1", status=400
        )
    else:
        error = kind("words", hint="do this")
    over = Over(Target("111122223333", "r-1"), Failure.of(error), None, None)
    ((heard, _),) = _hear(b"".join(frame(over)), [9], Frames())
    found = heard.failure.error()
    assert type(found) is kind
    assert str(found) == str(error)
    assert vars(found) == vars(error)
    assert (found.hint, found.exit_code) == (error.hint, error.exit_code)


def test_keys_do_not_show() -> None:
    grant = Grant("111122223333", "AKIA", "the-secret", "the-token", 30.0)
    for text in (repr(grant), str(grant), f"{[grant]}"):
        assert "the-" not in text
