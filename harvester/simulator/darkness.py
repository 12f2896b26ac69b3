"""Accounts and regions that go dark: every call fails in the same way for as long as it lasts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harvester.simulator.behaviour import Place

DarkKind = Literal["error", "hang", "close", "throttle", "slow"]

KINDS: Final[tuple[str, ...]] = get_args(DarkKind)
SERVICES: Final = ("imagebuilder", "sts", "ec2", "organizations")
#: As a place: all accounts and regions. As a service: all of them.
EVERYWHERE: Final = "*"
_ROLE_ACCOUNT: Final = 4


@dataclass(frozen=True, slots=True)
class Dark:
    """One way in which calls to a service about a place fail, from the first to the last.

    kind: `error` answers 500, `hang` keeps the connection open and never answers, `close` drops
        the connection without an answer, `throttle` answers 429, `slow` answers late, after
        `Faults.dark_seconds`.
    place: an account id, a region, an (account, region), or `EVERYWHERE`. AssumeRole is about the
        role's account; every other call is about the caller's account.
    service: one of `SERVICES`, or `EVERYWHERE`.
    """

    kind: DarkKind
    place: Place
    service: str = "imagebuilder"

    def __post_init__(self) -> None:
        """Refuse a kind or service that does not exist; raises ValueError."""
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind {self.kind!r}; known: {', '.join(KINDS)}")
        if self.service not in (*SERVICES, EVERYWHERE):
            raise ValueError(f"unknown service {self.service!r}; known: {', '.join(SERVICES)}")

    def strikes(self, service: str, account: str, region: str) -> bool:
        """Whether a call to a service about an account, in a region, fails."""
        here = (EVERYWHERE, account, region, (account, region))
        return self.service in (service, EVERYWHERE) and self.place in here


def find_dark(places: Iterable[Dark], service: str, account: str, region: str) -> Dark | None:
    """Return the first of the dark places that a call falls into."""
    return next((one for one in places if one.strikes(service, account, region)), None)


def account_concerned(operation: str, parameters: dict[str, Any], caller: str) -> str:
    """Return the account that a call is about."""
    if operation != "AssumeRole":
        return caller
    parts = str(parameters.get("RoleArn", "")).split(":")
    return parts[_ROLE_ACCOUNT] if len(parts) > _ROLE_ACCOUNT else caller
