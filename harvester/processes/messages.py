"""What the first process and those that read say to each other.

Targets tell messages apart: a target is in one process at a time.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from harvester import errors
from harvester.events import AnyEvent
from harvester.model import Cursor, Query, Standing, Target
from harvester.paging.learned import Learned
from harvester.settings import AwsSettings, FindingSettings


class Message(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """The base of all messages."""


class Setup(Message, frozen=True, tag="setup"):
    """The first message: what a process has to know.

    `withdraws` is the sink's; `levels` are the levels of loggers by name, "" for the root.
    """

    findings: FindingSettings
    aws: AwsSettings
    concurrency: int
    max_rate: float | None
    withdraws: bool
    levels: dict[str, int]


class Order(Message, frozen=True, tag="order"):
    """Read a target: see `harvester.visit.Visit` and `harvester.model.Standing`."""

    target: Target
    learned: Learned | None
    rest: float = 0.0
    stands: bool = False
    expected: int | None = None
    cursors: tuple[tuple[Query, Cursor], ...] = ()
    doubted: bool = False

    def going_on(self, standing: Standing) -> Order:
        """Return the order to go on with the target where it stands."""
        cursors = tuple(standing.cursors.items())
        return replace(self, stands=True, expected=standing.expected, cursors=cursors)

    @property
    def standing(self) -> Standing | None:
        """Where the target stands, None where it is read from its beginning."""
        if not self.stands:
            return None
        return Standing(complete=False, expected=self.expected, cursors=dict(self.cursors))


class Stop(Message, frozen=True, tag="stop"):
    """The last order: finish the calls under way within so many seconds, nothing else."""

    seconds: float


class Failure(Message, frozen=True, tag="failure"):
    """One of the project's errors: its class, and what that is made of."""

    kind: str
    text: str
    hint: str | None = None
    code: str = ""
    operation: str = ""
    account: str | None = None
    region: str | None = None
    status: int | None = None

    @classmethod
    def of(cls, error: errors.HarvesterError) -> Failure:
        """Return what an error is made of."""
        kind = type(error).__name__
        if isinstance(error, errors.ServiceError):
            place = (error.account, error.region, error.status)
            return cls(kind, error.message, error.hint, error.code, error.operation, *place)
        return cls(kind, str(error), error.hint)

    def error(self) -> errors.HarvesterError:
        """Return the error."""
        kind: type[errors.HarvesterError] = getattr(errors, self.kind)
        if not issubclass(kind, errors.ServiceError):
            return kind(self.text, hint=self.hint)
        return kind(
            self.code,
            self.text,
            operation=self.operation,
            account=self.account,
            region=self.region,
            status=self.status,
        )


class Wish(Message, frozen=True, tag="wish"):
    """Asks for the keys of an account; `refused` is the access key id that has expired."""

    account: str
    refused: str | None = None


class Grant(Message, frozen=True, tag="grant"):
    """The keys of an account and for how many seconds they are lent, or why there are none."""

    account: str
    access_key: str = ""
    secret_key: str = ""
    token: str | None = None
    seconds: float = 0.0
    failure: Failure | None = None

    def __repr__(self) -> str:
        return f"Grant({self.account!r}, ***)"


class Begun(Message, frozen=True, tag="begun"):
    """By which queries a target is read: `Sink.begin`."""

    target: Target
    queries: tuple[Query, ...]
    expected: int | None


class Wrote(Message, frozen=True, tag="wrote"):
    """A page, its text after the message: `Sink.write`."""

    query: Query
    next_token: str | None
    severities: dict[str, int]


class Replaced(Message, frozen=True, tag="replaced"):
    """What was written for some queries is withdrawn: `Sink.replace`."""

    queries: tuple[Query, ...]
    by: Query


class Finished(Message, frozen=True, tag="finished"):
    """A target was read whole: `Sink.finished`."""

    target: Target


class Over(Message, frozen=True, tag="over"):
    """A visit has ended: see `harvester.visit.Ended`; after it, a body that was damaged."""

    target: Target
    failure: Failure | None
    learned: Learned | None
    globs: tuple[str, ...] | None
    verified: bool | None = None


class Calls(Message, frozen=True, tag="calls"):
    """How many calls the process made so far: see `harvester.tally.Tally`."""

    requests: int = 0
    throttled: int = 0
    retries: int = 0


class Said(Message, frozen=True, tag="said"):
    """A log record; `fields` are the names and numbers that it was given beside its text."""

    logger: str
    level: int
    text: str
    fields: dict[str, str | int | float] = {}


class Happened(Message, frozen=True, tag="happened"):
    """An event that only the process that reads can tell."""

    event: AnyEvent


class Taken(Message, frozen=True, tag="taken"):
    """So many bytes of a ring are free again: between the ends of a link, and for nobody else."""

    spent: int


AnyMessage = (
    Setup
    | Order
    | Stop
    | Wish
    | Grant
    | Begun
    | Wrote
    | Replaced
    | Finished
    | Over
    | Calls
    | Said
    | Happened
    | Taken
)
"""Any of them."""
