"""How the simulated service behaves when nothing goes wrong: limits, rates, times, roles."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: What a setting applies to: an account id, a region name, or one account in one region.
Place = str | tuple[str, str]

#: How the last page of a chain says that it is the last: its `nextToken` is absent, "" or null.
LastToken = Literal["absent", "empty", "null"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose an access key is.

    `expires` is in seconds since the epoch; None means never. A `session_token` of None means
    that requests carry none.
    """

    access_key_id: str
    secret_key: str = field(repr=False)
    account: str
    arn: str
    session_token: str | None = field(default=None, repr=False)
    expires: float | None = None

    @property
    def assumed(self) -> bool:
        """Whether these are a role's credentials."""
        return ":assumed-role/" in self.arn


@dataclass(frozen=True, slots=True)
class Rate:
    """A token bucket: `rate` calls a second, and `burst` calls at once.

    A rate may be below 1; a burst is 1 or more.
    """

    rate: float
    burst: int

    def __post_init__(self) -> None:
        """Refuse a bucket that never grants a call; raises ValueError."""
        if self.burst < 1:
            raise ValueError(f"a burst must be 1 or more, not {self.burst}")


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Limits, rates, times and roles of the simulated services.

    page_limit: the largest `maxResults` that ListImageScanFindings grants; a larger one is refused.
    default_page: the page where none is asked for, never above `page_limit`.
    trailing_page: a full last page leads on to an empty one, instead of ending the chain.
    last_token: the `nextToken` of a chain's last page, of findings, images, pipelines and accounts.
    rate, burst: the token bucket of each account and region, over all Image Builder calls; None is
        unthrottled. `rates` overrides it for an account, a region, or an (account, region).
    throttle_code, throttle_status: what the bucket refuses with.
    latency, jitter: each answer waits `latency` seconds, and up to `jitter` more.
    session_duration: the lifetime in seconds of every role's credentials, whatever was asked for.
    role_names: the roles that exist in each account, with their path (`security/Harvester`); None
        is any.
    external_id: what AssumeRole must be given; None is nothing in particular.
    token_lifetime: how long a `nextToken` is accepted, in seconds; None is for ever.
    credentials_resolver: knows access keys that the simulator did not issue itself.
    """

    page_limit: int = 100
    default_page: int = 25
    trailing_page: bool = False
    last_token: LastToken = "absent"  # noqa: S105  # not a password
    rate: float | None = None
    burst: int = 10
    rates: Mapping[Place, Rate | None] = field(default_factory=dict)
    throttle_code: str = "CallRateLimitExceededException"
    throttle_status: int = 429
    latency: float = 0.0
    jitter: float = 0.0
    session_duration: float | None = None
    role_names: frozenset[str] | None = None
    external_id: str | None = None
    token_lifetime: float | None = None
    credentials_resolver: Callable[[str], Identity | None] | None = None

    def __post_init__(self) -> None:
        """Refuse values that do not exist; raises ValueError."""
        if self.last_token not in get_args(LastToken):
            known = ", ".join(get_args(LastToken))
            raise ValueError(f"unknown last token {self.last_token!r}; known: {known}")
        if self.burst < 1:
            raise ValueError(f"a burst must be 1 or more, not {self.burst}")

    def ending(self, name: str) -> dict[str, str | None]:
        """Return the members that end a chain whose token is called `name`."""
        endings: dict[str, dict[str, str | None]] = {"empty": {name: ""}, "null": {name: None}}
        return endings.get(self.last_token, {})

    def rate_of(self, account: str, region: str) -> Rate | None:
        """The bucket of an account and region; the narrowest override wins."""
        for place in ((account, region), account, region):
            if place in self.rates:
                return self.rates[place]
        return None if self.rate is None else Rate(self.rate, self.burst)
