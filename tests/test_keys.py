"""Keys that one process holds and others borrow: renewed in time, and once."""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio
import anyio.lowlevel
import pytest
from aiobotocore.credentials import AioCredentials

from harvester.errors import HarvesterError, RefusedError
from harvester.processes.frames import frame
from harvester.processes.keys import Borrower, Lender
from harvester.processes.messages import Grant, Wish
from harvester.text import Secret

_ACCOUNT = "111122223333"


@dataclass
class Source:
    """Credentials with a new key each time that they are renewed."""

    seconds: float = 100.0
    error: Exception | None = None
    renewed: int = 1
    keys: AioCredentials | None = None

    async def current(self) -> AioCredentials:
        if self.error is not None:
            raise self.error
        if self.keys is None:
            secrets = Secret("the-secret"), Secret("the-token")
            self.keys = AioCredentials(f"AKIA{self.renewed}", *secrets)
        return self.keys

    def expire(self, refused: AioCredentials) -> None:
        if self.keys is refused:
            self.keys = None
            self.renewed += 1

    def good_for(self) -> float:
        return self.seconds


@dataclass
class Desk:
    """A lender at the other end of a wire, and a clock."""

    source: Source = field(default_factory=Source)
    wishes: list[Wish] = field(default_factory=list)
    time: float = 0.0

    async def ask(self, wish: Wish) -> Grant:
        self.wishes.append(wish)
        await anyio.lowlevel.checkpoint()
        lender = Lender()
        lender.keep(_ACCOUNT, self.source)
        grant = await lender.grant(wish)
        assert frame(grant), "it can be sent"
        return grant

    def borrower(self) -> Borrower:
        return Borrower(_ACCOUNT, self.ask, lambda: self.time)


async def test_keys_are_borrowed_once_for_as_long_as_they_are_lent() -> None:
    desk = Desk()
    keys = desk.borrower()
    first = await keys.current()
    assert (first.access_key, first.secret_key, first.token) == ("AKIA1", "the-secret", "the-token")
    assert "the-" not in repr(vars(first))
    desk.time = 99.0
    assert await keys.current() is first
    assert keys.good_for() == 1.0
    assert desk.wishes == [Wish(_ACCOUNT)]
    desk.time = 100.0
    await keys.current()
    assert desk.wishes == [Wish(_ACCOUNT)] * 2
    assert desk.source.renewed == 1, "to ask anew is not to call them expired"


async def test_however_many_ask_one_wish_is_sent() -> None:
    desk = Desk()
    keys = desk.borrower()
    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(keys.current)
    assert len(desk.wishes) == 1


async def test_refused_keys_are_renewed_once() -> None:
    desk = Desk()
    one, other = desk.borrower(), desk.borrower()
    refused = [await one.current(), await other.current()]
    for keys, old in zip((one, other), refused, strict=True):
        keys.expire(old)
        keys.expire(old)
        assert (await keys.current()).access_key == "AKIA2"
    assert [wish.refused for wish in desk.wishes] == [None, None, "AKIA1", "AKIA1"]
    assert desk.source.renewed == 2
    one.expire(refused[0])
    assert (await one.current()).access_key == "AKIA2", "those were refused before"
    assert len(desk.wishes) == 4


async def test_why_there_are_none_is_said_to_who_asks_and_asked_again() -> None:
    error = RefusedError("AccessDenied", "no", operation="AssumeRole", account=_ACCOUNT, status=403)
    desk = Desk(Source(error=error))
    keys = desk.borrower()
    with pytest.raises(RefusedError) as caught:
        await keys.current()
    assert vars(caught.value) == vars(error)
    desk.source.error = None
    assert (await keys.current()).access_key == "AKIA1"


async def test_a_defect_costs_who_asks_and_no_more() -> None:
    keys = Desk(Source(error=ZeroDivisionError())).borrower()
    with pytest.raises(HarvesterError, match="a defect of harvester: ZeroDivisionError"):
        await keys.current()
