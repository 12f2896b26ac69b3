"""The words of the project as frozen values: account, target, query, page, outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import msgspec

from harvester.errors import ServiceError

Finding = dict[str, Any]
"""One finding as the API names it, its timestamps ISO 8601 in UTC with milliseconds."""

Status = Literal["complete", "incomplete", "failed", "skipped", "stale"]
Stage = Literal["accounts", "credentials", "regions", "pipelines", "findings", "sweep"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who runs the sweep, as STS GetCallerIdentity says: 12-digit account, ARN, partition."""

    account: str
    arn: str
    partition: str


@dataclass(frozen=True, slots=True)
class Account:
    """An account to sweep: 12 digits, its name and state where the organization told them."""

    id: str
    name: str | None = None
    state: str = "ACTIVE"

    @property
    def active(self) -> bool:
        """Whether the account can be swept."""
        return self.state == "ACTIVE"


@dataclass(frozen=True, slots=True)
class Chosen:
    """The accounts of a sweep.

    Attributes:
        accounts: those to sweep, and those that are not active, in order of their ids.
        excluded: ids that were selected and are excluded.
        empty_units: organizational units without an account.
    """

    accounts: Sequence[Account]
    excluded: Sequence[str]
    empty_units: Sequence[str]


@dataclass(frozen=True, slots=True)
class Regions:
    """The regions of one account: those to sweep, and those that are excluded; sorted."""

    names: Sequence[str]
    excluded: Sequence[str]


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """An account and a region: the unit of permission, of throttling, and of the summary."""

    account: str
    region: str

    def __str__(self) -> str:
        return f"{self.account}/{self.region}"


@dataclass(frozen=True, slots=True, order=True)
class Condition:
    """A finding passes when its field `name` (an API filter name) is one of `values`."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, order=True)
class Query:
    """A target with one API filter or none: one chain of pages.

    `name` and `value` are the filter that the service applies, empty for none; `conditions`
    are what it cannot apply in the same request and is applied to its answers here.
    """

    target: Target
    name: str = ""
    value: str = ""
    conditions: tuple[Condition, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}={self.value}" if self.name else "all findings"


# None of these can refer to itself, so the collector of cycles need not look at them.


class Score(msgspec.Struct, gc=False):
    """A score of a finding. A number that is none, or beyond a double, does not pass for one."""

    score: float | None = None
    baseScore: float | None = None  # noqa: N815  # the API's names, here and below


class ScoreDetails(msgspec.Struct, gc=False):
    """A finding's `inspectorScoreDetails`."""

    adjustedCvss: Score | None = None  # noqa: N815


class Details(msgspec.Struct, gc=False):
    """What a sweep looks at in a finding's `packageVulnerabilityDetails`: see `Facets`."""

    vulnerabilityId: Any = None  # noqa: N815
    vendorCreatedAt: float | None = None  # noqa: N815
    vendorUpdatedAt: float | None = None  # noqa: N815
    cvss: list[Score] | None = None


class Facets(msgspec.Struct, gc=False):
    """What a sweep looks at in a finding: what the API's filters go by, and its timestamps.

    The timestamps are seconds since 1970, known for a page that was copied from its body.
    """

    severity: Any = None
    imagePipelineArn: Any = None  # noqa: N815
    imageBuildVersionArn: Any = None  # noqa: N815
    firstObservedAt: float | None = None  # noqa: N815
    updatedAt: float | None = None  # noqa: N815
    inspectorScore: float | None = None  # noqa: N815
    inspectorScoreDetails: ScoreDetails | None = None  # noqa: N815
    packageVulnerabilityDetails: Details | None = None  # noqa: N815

    def value(self, name: str) -> Any:
        """Return what the API filter `name` goes by, None where the finding has no such field."""
        if name != "vulnerabilityId":
            return getattr(self, name)
        details = self.packageVulnerabilityDetails
        return details.vulnerabilityId if details is not None else None


@dataclass(frozen=True)
class Page:
    """One answer: its findings and the next token, None where the chain ends.

    `text` holds the findings as NDJSON, a line each; `facets` belong to them, one for one.
    `next_token` is `BROKEN` where the answer's own cannot be sent. `doubt` is why the page is not
    all that the service meant to answer, None where it is; such a page makes no query complete.
    """

    text: bytes
    facets: list[Facets]
    next_token: str | None
    doubt: ServiceError | None = field(default=None, compare=False)

    @property
    def lines(self) -> list[bytes]:
        """The findings as lines, each with its newline."""
        return self.text.splitlines(keepends=True)

    @cached_property
    def severities(self) -> Counter[str]:
        """How many of the findings have each severity, "" for those without one."""
        return Counter([str(one.severity or "") for one in self.facets])


BROKEN = ""
"""What stands for the token of a chain that leads back to where it was; no token is empty."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a query stands: what its pages gave so far, and where it goes on.

    `token` is the next token, None where nothing was read yet or, if `done`, where the chain
    ended; `BROKEN` where it could not be followed, and has to be read anew. `severities` counts the findings that were written, "" for those without a severity.
    """

    token: str | None = None
    done: bool = False
    pages: int = 0
    severities: Mapping[str, int] = field(default_factory=dict)

    def after(self, page: Page) -> Cursor:
        """Return where the query stands after one more page."""
        counts = Counter(self.severities)
        counts.update(page.severities)
        return Cursor(page.next_token, page.next_token is None, self.pages + 1, counts)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an earlier, unfinished run left a target.

    `complete` means that it was read whole. `expected` is the service's count when it began to be
    read, None where that was not asked for. `cursors` are those of its queries, or of the parts
    of a split.
    """

    complete: bool
    expected: int | None
    cursors: Mapping[Query, Cursor]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a target ended, with its reason.

    `region` is None where the whole account failed or was skipped before its regions were
    read; such an account counts as one target. `seconds` is wall time; `account_name` is the
    organization's name of the account, None where nobody told it. `verified` is whether the
    number of findings is the service's own count, None where the two were not compared.
    """

    account: str
    region: str | None
    status: Status
    stage: Stage = "findings"
    code: str = ""
    message: str = ""
    findings: int = 0
    pages: int = 0
    seconds: float = 0.0
    account_name: str | None = None
    verified: bool | None = None

    @property
    def where(self) -> str:
        """The account and region, with the account's name where it is known."""
        place = f"{self.account}/{self.region}" if self.region else self.account
        return f"{place} ({self.account_name})" if self.account_name else place
