"""What goes wrong, how often and where: a plan drawn with a seeded random source.

Faults spoil answers, never state: whatever was refused, dropped or damaged is there, unchanged,
when it is asked for again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from harvester.simulator.darkness import EVERYWHERE, Dark
from harvester.simulator.errors import AwsError, front_door

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from harvester.simulator.behaviour import Place

_NOWHERE: Final[frozenset[Any]] = frozenset()

#: The transient faults that are refusals: field of Faults → code, HTTP status, text.
_REFUSALS: Final[dict[str, tuple[str, int, str]]] = {
    "call_rate_limit": (
        "CallRateLimitExceededException",
        429,
        "You have exceeded the permitted request rate for the specific operation.",
    ),
    "throttling": ("ThrottlingException", 400, "Rate exceeded"),
    "too_many_requests": ("TooManyRequestsException", 429, "Too Many Requests"),
    "request_limit": ("RequestLimitExceeded", 503, "Request limit exceeded."),
    "slow_down": ("SlowDown", 503, "Please reduce your request rate."),
    "error_500": ("ServiceException", 500, "Internal service error."),
    "error_503": ("ServiceUnavailableException", 503, "The service is unable to process it."),
    "refused_token": (
        "InvalidPaginationTokenException",
        400,
        "You have provided an invalid token.",
    ),
}

_NEEDS_TOKEN: Final = frozenset({"refused_token", "repeated_token"})
_NEEDS_PAGES: Final = frozenset({"empty_page", "repeated_token"})


class Delivery(Enum):
    """How an answer gets to the caller, or does not."""

    WHOLE = "whole"
    BARE_429 = "bare_429"
    RESET = "reset"
    CLOSED = "closed"
    TRUNCATED = "truncated"
    SLOW = "slow"
    DAMAGED = "damaged"
    UNENDING = "unending"
    HUNG = "hung"


@dataclass(frozen=True, slots=True)
class Faults:
    """Rates of what passes, and places of what does not.

    The first fields, from `call_rate_limit` to `repeated_token`, are probabilities for each
    request to one of the `services`; at most one strikes a request, so their sum should stay below
    1. `refused_token` and `repeated_token` strike only requests that send a token, so that a chain
    is hit by them somewhat less often; `empty_page` and `repeated_token` strike only
    ListImageScanFindings.

    call_rate_limit, throttling, too_many_requests, request_limit, slow_down, bare_429: the forms
        of a throttle; the last is a status with an empty body.
    error_500, error_503: the service failed.
    reset: the connection is dropped before an answer.
    truncated: fewer bytes than the Content-Length says, and the end of the connection.
    slow: the body drips, for `slow_seconds` in all.
    damaged: status 200 and, in turn, half a body, HTML, nothing, `null`, `[]`, `{}`.
    expired: the credentials are called expired, though they are not.
    refused_token: the `nextToken` is called invalid, though it is not.
    empty_page: no findings, and a new token that leads to where the chain stood.
    repeated_token: the right findings, but the `nextToken` that was sent in.

    In what lasts, a place is an account id, a region, an (account, region), or "*", everywhere:
    denied_accounts: AssumeRole is denied. regions_denied_accounts: DescribeRegions is.
    organizations_denied: reading the organization is denied to everybody.
    denied_targets, policy_denied_targets, forbidden_targets: Image Builder denies every call, by a
        missing permission, by a service control policy, with ForbiddenException.
    denied_operations: operations of any service that every caller lacks the permission for.
    disabled_regions: Image Builder knows no access key there.
    dead_regions: Image Builder closes connections without an answer there.
    cycling_targets: the tokens of findings go A, B, A, B. endless_targets: empty pages for ever.
    garbage_targets: findings are HTML, always.
    unending_targets: the body of findings never ends. repeating_targets: a page of findings begins
        with the last one of the page before.
    hung_operations: operations of any service that are never answered.
    dark: places where every call to a service fails in the same way; see `Dark`.
    dark_seconds: how long the answers of those that are slow take.
    odd_first_answers: the first call for findings in each of these places, and only that one, is
        refused with InvalidRequestException.
    count_offsets: the number by which each count differs from its list, above or below; never
        below 0. The narrowest place wins.
    count_lag: how many of the newest findings of each target the counts do not know yet.
    clock_skew: how many seconds the service's clock is ahead.
    """

    call_rate_limit: float = 0.0
    throttling: float = 0.0
    too_many_requests: float = 0.0
    request_limit: float = 0.0
    slow_down: float = 0.0
    bare_429: float = 0.0
    error_500: float = 0.0
    error_503: float = 0.0
    reset: float = 0.0
    truncated: float = 0.0
    slow: float = 0.0
    damaged: float = 0.0
    expired: float = 0.0
    refused_token: float = 0.0
    empty_page: float = 0.0
    repeated_token: float = 0.0

    slow_seconds: float = 0.5
    services: frozenset[str] = frozenset({"imagebuilder"})
    seed: int = 0

    denied_accounts: frozenset[str] = _NOWHERE
    regions_denied_accounts: frozenset[str] = _NOWHERE
    organizations_denied: bool = False
    denied_targets: frozenset[Place] = _NOWHERE
    policy_denied_targets: frozenset[Place] = _NOWHERE
    forbidden_targets: frozenset[Place] = _NOWHERE
    denied_operations: frozenset[str] = _NOWHERE
    disabled_regions: frozenset[str] = _NOWHERE
    dead_regions: frozenset[str] = _NOWHERE
    cycling_targets: frozenset[Place] = _NOWHERE
    endless_targets: frozenset[Place] = _NOWHERE
    garbage_targets: frozenset[Place] = _NOWHERE
    unending_targets: frozenset[Place] = _NOWHERE
    repeating_targets: frozenset[Place] = _NOWHERE
    hung_operations: frozenset[str] = _NOWHERE
    dark: tuple[Dark, ...] = ()
    dark_seconds: float = 30.0
    odd_first_answers: frozenset[Place] = _NOWHERE
    count_offsets: Mapping[Place, int] = field(default_factory=dict)
    count_lag: int = 0
    clock_skew: float = 0.0

    @classmethod
    def transient(cls) -> tuple[str, ...]:
        """The names of the faults that have a rate."""
        names = [one.name for one in fields(cls)]
        return tuple(names[: names.index("slow_seconds")])

    @classmethod
    def everywhere(cls, rate: float, **others: Any) -> Faults:
        """Every transient fault at the same rate; `others` are further fields."""
        return cls(**{**dict.fromkeys(cls.transient(), rate), **others})

    def count_offset(self, account: str, region: str) -> int:
        """Return by how much the counts of an account and region differ from its list."""
        names = _names(account, region)
        return next((self.count_offsets[one] for one in names if one in self.count_offsets), 0)


def covers(places: AbstractSet[Place], account: str, region: str) -> bool:
    """Whether an account and region is among the places."""
    return any(one in places for one in _names(account, region))


def _names(account: str, region: str) -> tuple[Place, ...]:
    return ((account, region), account, region, EVERYWHERE)


def draw(
    faults: Faults, rng: random.Random, *, service: str, operation: str, has_token: bool
) -> str | None:
    """The name of the fault that strikes a request, or None: one number decides."""
    number = rng.random()
    if service not in faults.services:
        return None
    for name in _TRANSIENT:
        if name in _NEEDS_TOKEN and not has_token:
            continue
        if name in _NEEDS_PAGES and operation != "ListImageScanFindings":
            continue
        number -= getattr(faults, name)
        if number < 0:
            return name
    return None


def refusal(name: str | None, service: str) -> AwsError | None:
    """The refusal that a transient fault is, None where it is something else."""
    if name == "expired":
        return front_door("expired", service)
    words = _REFUSALS.get(name or "")
    return None if words is None else AwsError(*words)


_TRANSIENT: Final = Faults.transient()
