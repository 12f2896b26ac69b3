"""A region or an account that does not answer, and the good ones beside it: over leaping time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from botocore.credentials import ReadOnlyCredentials

from harvester.clock import Clock, loop_time
from harvester.errors import (
    OutageError,
    RefusedError,
    ServiceError,
    ThrottledError,
    TransientError,
)
from harvester.events import CallsResumed, CallsSuspended, Event
from harvester.paging.breaker import few_of
from harvester.paging.channel import Call, Channel, Exchange
from harvester.paging.retry import RetryPolicy
from harvester.paging.seats import each_seated
from harvester.paging.slots import FairSlots
from tests.leaping import run_leaping

GOOD, BAD = "us-east-1", "eu-west-1"
LATENCY = 0.1
Dark = Callable[[Call, float], str | None]


class Keys:
    async def current(self) -> ReadOnlyCredentials:
        return ReadOnlyCredentials("key", "secret", None)

    def expire(self, refused: Any) -> None:
        raise AssertionError(refused)


@dataclass
class Aws:
    """Answers each call after a moment, unless `dark` names a kind of darkness for it."""

    dark: Dark
    sent: list[tuple[Call, float]] = field(default_factory=list)
    under_way: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)

    async def open(self, service: str, region: str) -> None:
        """Nothing to make ready."""

    async def call(self, call: Call, signer: Any) -> str:
        del signer
        self.sent.append((call, anyio.current_time()))
        self.under_way[call.region] += 1
        self.most[call.region] = max(self.most[call.region], self.under_way[call.region])
        try:
            return await self._answer(call)
        finally:
            self.under_way[call.region] -= 1

    async def _answer(self, call: Call) -> str:
        kind = self.dark(call, anyio.current_time())
        if kind == "hang":
            await anyio.sleep(30.0)
            raise TransientError("Timeout", "no answer", operation="ListX")
        await anyio.sleep(LATENCY)
        match kind:
            case "error":
                raise TransientError("ServiceException", "no", operation="ListX", status=500)
            case "close":
                raise TransientError("ConnectionClosed", "cut off", operation="ListX")
            case "throttle":
                raise ThrottledError("SlowDown", "no", operation="ListX", status=503)
            case "slow":
                await anyio.sleep(5.0)
            case "deny":
                raise RefusedError("AccessDenied", "no", operation="ListX", status=403)
        return "answer"


@dataclass
class Swept:
    """What became of the targets, in the order in which they ended."""

    aws: Aws
    ended: list[tuple[str, str, ServiceError | None, float]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def of(self, region: str) -> list[ServiceError | None]:
        return [error for _, where, error, _ in self.ended if where == region]

    def last(self, region: str) -> float:
        return max(when for _, where, _, when in self.ended if where == region)

    def requests(self, region: str) -> int:
        return sum(call.region == region for call, _ in self.aws.sent)


async def _sweep(
    dark: Dark,
    *,
    accounts: int = 40,
    regions: tuple[str, ...] = (BAD, GOOD),
    calls: int = 3,
    slots: int = 16,
) -> Swept:
    """Make some calls in turn for each account and region, with as many seats as slots."""
    swept = Swept(Aws(dark))
    clock = Clock(now=loop_time)
    policy = RetryPolicy(throttle_cap=0.0)
    exchange = Exchange(swept.aws, FairSlots(slots), swept.events.append, clock, policy)

    async def read(target: tuple[str, str]) -> None:
        account, region = target
        channel = exchange.channel("imagebuilder", region, Keys(), account=account)
        error: ServiceError | None = None
        try:
            for _ in range(calls):
                assert await channel.call("list_x", {}, str) == "answer"
        except ServiceError as failure:
            error = failure
        swept.ended.append((account, region, error, anyio.current_time()))

    async def targets() -> Any:
        for number in range(accounts):
            for region in regions:
                yield f"{number:012}", region

    await each_seated(targets(), slots, read)
    return swept


def _in_bad(kind: str, until: float = 1e9, since: float = 0.0) -> Dark:
    return lambda call, now: kind if call.region == BAD and since <= now < until else None


@pytest.mark.parametrize(
    ("kind", "code", "rounds", "seconds"),
    [
        ("error", "ServiceException", 10, 40.0),
        ("close", "ConnectionClosed", 10, 40.0),
        ("hang", "Timeout", 10, 210.0),
        ("throttle", "SlowDown", 135, 1000.0),
    ],
)
@pytest.mark.parametrize("slots", [2, 16, 64])
def test_a_dark_region_holds_up_no_target_of_another(
    kind: str, code: str, rounds: int, seconds: float, slots: int
) -> None:
    swept = run_leaping(_sweep(_in_bad(kind), slots=slots))
    assert swept.of(GOOD) == [None] * 40
    errors = swept.of(BAD)
    assert len(errors) == 40
    assert {type(error) for error in errors} == {OutageError}
    assert {error.code for error in errors if error} == {code}
    assert {one for one, region, *_ in swept.ended if region == BAD} == {
        f"{number:012}" for number in range(40)
    }
    assert [region for _, region, *_ in swept.ended] == [GOOD] * 40 + [BAD] * 40
    probes = 2 if kind == "throttle" else few_of(slots)
    assert swept.requests(BAD) <= 40 + slots + 8 + rounds * probes
    assert swept.last(BAD) <= seconds + 3.0 * 40 * (slots == 2)
    alone = run_leaping(_sweep(_in_bad(kind), regions=(GOOD,), slots=slots))
    assert swept.last(GOOD) <= 2 * alone.last(GOOD) + 4.0


def test_each_target_names_its_own_failure_and_the_shared_one() -> None:
    swept = run_leaping(_sweep(_in_bad("error")))
    texts = {error.message for error in swept.of(BAD) if error}
    (text,) = texts
    assert text.startswith("no; every request to imagebuilder in eu-west-1 failed for ")
    assert text.endswith(" s, 40 accounts concerned")
    (event,) = (one for one in swept.events if isinstance(one, CallsSuspended))
    assert (event.region, event.account, event.code) == (BAD, None, "ServiceException")


@pytest.mark.parametrize("kind", ["error", "close", "hang", "throttle"])
@pytest.mark.parametrize("since", [0.0, 0.35])
def test_a_region_that_recovers_loses_no_target(kind: str, since: float) -> None:
    swept = run_leaping(_sweep(_in_bad(kind, 20.0, since), calls=5))
    assert swept.of(GOOD) == swept.of(BAD) == [None] * 40
    assert swept.last(BAD) < 60.0
    assert swept.last(GOOD) < 20.0
    suspended = [one for one in swept.events if isinstance(one, CallsSuspended) and one.region]
    resumed = [one for one in swept.events if isinstance(one, CallsResumed) and one.region]
    assert len(suspended) == len(resumed) >= (since == 0.0)


@pytest.mark.parametrize("kind", ["error", "close", "hang"])
def test_a_region_that_goes_dark_in_the_middle_holds_up_no_other(kind: str) -> None:
    alone = run_leaping(_sweep(_in_bad(kind), regions=(GOOD,), calls=40))
    swept = run_leaping(_sweep(_in_bad(kind, since=0.5), calls=40))
    assert swept.of(GOOD) == [None] * 40
    assert swept.last(GOOD) <= 2 * alone.last(GOOD) + 4.0
    assert None not in swept.of(BAD)
    assert swept.last(BAD) <= 240.0


@pytest.mark.parametrize("kind", ["error", "hang"])
def test_failures_of_one_account_are_its_own(kind: str) -> None:
    bad = f"{7:012}"
    swept = run_leaping(
        _sweep(lambda call, _: kind if call.account == bad else None, regions=(GOOD,))
    )
    (error,) = (error for error in swept.of(GOOD) if error)
    assert (type(error), error.message) == (
        TransientError,
        {"error": "no", "hang": "no answer"}[kind],
    )
    assert not any(isinstance(event, CallsSuspended) for event in swept.events)


def test_an_account_that_hangs_everywhere_fails_as_one() -> None:
    bad = f"{7:012}"
    regions = tuple(f"eu-west-{number}" for number in range(1, 9))
    swept = run_leaping(
        _sweep(lambda call, _: "hang" if call.account == bad else None, regions=regions, slots=8)
    )
    errors = [(account, error) for account, _, error, _ in swept.ended if error]
    assert {account for account, _ in errors} == {bad}
    assert len(errors) == 8
    assert all("every request for account 000000000007" in error.message for _, error in errors)
    assert all(error is None for _, _, error, _ in swept.ended[: 39 * 8])
    assert sum(call.account == bad for call, _ in swept.aws.sent) <= 8 + 2 * 10 + 8


def test_refusals_and_expired_keys_open_nothing() -> None:
    swept = run_leaping(_sweep(_in_bad("deny")))
    assert {type(error) for error in swept.of(BAD)} == {RefusedError}
    assert swept.requests(BAD) == 40
    assert not swept.events or not any(isinstance(one, CallsSuspended) for one in swept.events)


def test_accounts_that_hang_leave_half_of_the_requests_to_others() -> None:
    bad = {f"{number:012}" for number in range(0, 60, 3)}

    def dark(call: Call, _: float) -> str | None:
        return "hang" if call.account in bad else None

    swept = run_leaping(_sweep(dark, regions=(GOOD,), slots=8, accounts=60))
    failed = {account for account, _, error, _ in swept.ended if error}
    assert failed == bad
    whole = [when for account, _, error, when in swept.ended if error is None]
    assert max(whole) < 20.0


@pytest.mark.parametrize("since", [0.0, 0.5])
def test_a_region_that_is_slow_is_read(since: float) -> None:
    swept = run_leaping(_sweep(_in_bad("slow", since=since), slots=64))
    assert swept.of(GOOD) == swept.of(BAD) == [None] * 40
    assert swept.requests(BAD) <= 3 * 40 + 64
    assert swept.last(BAD) <= 60.0


def test_slow_answers_are_waited_for_in_the_end() -> None:
    class Slow(Aws):
        async def call(self, call: Call, signer: Any) -> str:
            del call, signer
            await anyio.sleep(12.0)
            return "answer"

    async def sweep() -> list[str]:
        exchange = Exchange(
            Slow(lambda *_: None),
            FairSlots(4),
            lambda _: None,
            Clock(now=loop_time),
            RetryPolicy(),
        )
        answers: list[str] = []

        async def read(account: str) -> None:
            channel = exchange.channel("imagebuilder", GOOD, Keys(), account=account)
            answers.append(await channel.call("list_x", {}, str))

        async with anyio.create_task_group() as group:
            for number in range(24):
                group.start_soon(read, f"{number:012}")
        return answers

    assert run_leaping(sweep()) == ["answer"] * 24


def test_a_call_that_can_be_done_without_does_not_wait_for_a_dark_region() -> None:
    async def ask() -> tuple[str, float]:
        aws = Aws(_in_bad("error"))
        clock = Clock(now=loop_time)
        exchange = Exchange(aws, FairSlots(16), lambda _: None, clock, RetryPolicy())

        def channel(account: str) -> Channel:
            return exchange.channel("imagebuilder", BAD, Keys(), account=account)

        async with anyio.create_task_group() as group:
            for account in "abcdef":
                group.start_soon(_quietly, channel(account))
            await anyio.sleep(1.0)
            began = anyio.current_time()
            with pytest.raises(OutageError) as caught:
                await channel("z").hurried().call("count_x", {}, str)
            took = anyio.current_time() - began
            group.cancel_scope.cancel()
        return caught.value.code, took

    code, took = run_leaping(ask())
    assert code == "ServiceException"
    assert took < 1.0


async def _quietly(channel: Channel) -> None:
    with pytest.raises(OutageError):
        await channel.call("list_x", {}, str)


def test_those_who_leave_the_queue_hold_up_no_one() -> None:
    """Cancelled while they wait, whoever they are: the others are still read at the end."""

    async def sweep() -> int:
        aws = Aws(_in_bad("error", 15.0))
        clock = Clock(now=loop_time)
        exchange = Exchange(aws, FairSlots(16), lambda _: None, clock, RetryPolicy())
        answers = 0

        async def read(number: int) -> None:
            nonlocal answers
            channel = exchange.channel("imagebuilder", BAD, Keys(), account=f"{number:012}")
            with anyio.move_on_after(0.5 * number if number % 3 else None):
                await channel.call("list_x", {}, str)
                answers += 1

        async with anyio.create_task_group() as group:
            for number in range(30):
                group.start_soon(read, number)
        return answers

    assert run_leaping(sweep()) == 10
