"""The sections of the settings, one frozen struct each, with their defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from harvester.settings.filters import PipelineGlob
from harvester.settings.types import (
    AccountId,
    Concurrency,
    Duration,
    EndpointUrl,
    ExternalId,
    FilePath,
    Flag,
    PageSize,
    Processes,
    Rate,
    RegionName,
    RegionOrAll,
    RoleName,
    SessionName,
    Text,
    UnitId,
    parse_duration,
)
from harvester.text import Secret

if TYPE_CHECKING:
    Texts: TypeAlias = tuple[str, ...] | list[str]
    """Several values as they may be given. They are stored as a tuple, which is also the type
    that they are read as: so type checkers see a constructor that is wider than the fields."""


Split: TypeAlias = Literal["auto", "none", "severity", "pipeline", "image"]


def is_folder(path: str) -> bool:
    """Whether the path names a folder: by its last character, or because one is there."""
    # pathlib would raise for a name that is too long or stands where we may not look.
    return path.endswith("/") or os.path.isdir(path)  # noqa: PTH112


def _store_tuples(section: msgspec.Struct) -> None:
    """Replace the lists among a section's values by tuples."""
    for name in section.__struct_fields__:
        value = getattr(section, name)
        if isinstance(value, list):
            msgspec.structs.force_setattr(section, name, tuple(value))
        elif isinstance(value, Mapping):
            values: dict[Any, Any] = {
                key: tuple(each) if isinstance(each, list) else each for key, each in value.items()
            }
            msgspec.structs.force_setattr(section, name, values)


class AccountSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which accounts are swept, and the role that leads into them.

    Attributes:
        organization: every ACTIVE account of the organization.
        organizational_units: the ACTIVE accounts below these units or roots, at any depth.
        include: these accounts; with no choice at all it is the caller's own.
        exclude: never these.
        role_name: the role to assume in each account, with its path, without a leading slash.
        external_id: the external id that the role asks for, 2 to 1224 characters.
        session_name: the name of the role session, 2 to 64 characters.
    """

    organization: Flag = False
    organizational_units: tuple[UnitId, ...] = ()
    include: tuple[AccountId, ...] = ()
    exclude: tuple[AccountId, ...] = ()
    role_name: RoleName | None = None
    external_id: ExternalId | None = None
    session_name: SessionName = "harvester"

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            organization: bool = ...,
            organizational_units: Texts = ...,
            include: Texts = ...,
            exclude: Texts = ...,
            role_name: str | None = ...,
            external_id: str | None = ...,
            session_name: str = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        """Hold tuples and plain text: encoders of settings know no other kind."""
        _store_tuples(self)
        if isinstance(self.external_id, Secret):
            msgspec.structs.force_setattr(self, "external_id", str(self.external_id))

    def __repr__(self) -> str:
        """As of any struct, but without the external id, so that a log may hold it."""
        values = msgspec.structs.asdict(self)
        if self.external_id is not None:
            values["external_id"] = "***"
        fields = ", ".join(f"{name}={value!r}" for name, value in values.items())
        return f"AccountSettings({fields})"


class RegionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which regions are swept.

    Attributes:
        include: names, or ``("all",)``: every region enabled for an account. Empty: the
            region that the SDK is configured for.
        exclude: never these.
    """

    include: tuple[RegionOrAll, ...] = ()
    exclude: tuple[RegionName, ...] = ()

    if TYPE_CHECKING:

        def __init__(self, *, include: Texts = ..., exclude: Texts = ...) -> None: ...

    def __post_init__(self) -> None:
        """Hold tuples."""
        _store_tuples(self)


class FindingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which findings are read, and in what portions.

    Attributes:
        pipelines: globs; pipelines whose name or ARN matches, one query each. Empty: all.
        filters: values by the API's filter name. Values of one name are alternatives;
            different names must all hold.
        split: how one large target is cut into concurrent queries.
        page_size: findings asked for a page, 1 to 100; None is the most that the service grants.
        verify: whether what was read is held against the service's own counts. None: where
            that costs a target of several pages one call at most.
    """

    pipelines: tuple[PipelineGlob, ...] = ()
    filters: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    split: Split = "auto"
    page_size: PageSize | None = None
    verify: Flag | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            pipelines: Texts = ...,
            filters: Mapping[str, Texts] = ...,
            split: Split = ...,
            page_size: int | None = ...,
            verify: bool | None = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        """Hold tuples."""
        _store_tuples(self)


class LimitSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much a sweep may do at once, how fast, and how long.

    Attributes:
        max_concurrency: requests in flight, overall, 1 to 1000.
        max_rate: requests a second for each account and region, above 0, up to 1000;
            None leaves it to what the sweep learns.
        deadline: a duration (``90s``, ``30m``, ``2h``, ``1h30m``) after which the sweep stops,
            resumable; None is no deadline.
        processes: processes that read findings, 1 to 64.
        max_resume_age: a duration after which findings that an unfinished sweep has read are
            read again instead of being resumed.
    """

    max_concurrency: Concurrency = 64
    max_rate: Rate | None = None
    deadline: Duration | None = None
    processes: Processes = 1
    max_resume_age: Duration = "6h"

    @property
    def deadline_seconds(self) -> float | None:
        """The deadline in seconds from the start, or None."""
        return None if self.deadline is None else parse_duration(self.deadline)

    @property
    def max_resume_age_seconds(self) -> float:
        """The greatest age of resumed findings in seconds."""
        return parse_duration(self.max_resume_age)


class OutputSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where findings and the summary go.

    Attributes:
        path: ``-`` (stdout), one file (``.ndjson``, ``.ndjson.gz``, ``.ndjson.zst``), or a
            folder (one that exists, or a name that ends in ``/``).
        compression: of the files in a folder; a single file's name says its own.
        on_partial: whether a single file keeps the lines of targets that failed from the file
            before, or drops them.
        summary: the file for the summary as JSON, or None.
    """

    path: FilePath = "-"
    compression: Literal["none", "zstd"] = "none"
    on_partial: Literal["keep", "drop"] = "keep"
    summary: FilePath | None = None

    @property
    def kind(self) -> Literal["stdout", "file", "folder"]:
        """What the path stands for; asks the file system whether it is a folder."""
        if self.path == "-":
            return "stdout"
        return "folder" if is_folder(self.path) else "file"

    def for_its_path(self) -> OutputSettings:
        """The same output, without a compression that only a folder would have a use for."""
        return self if self.kind == "folder" else msgspec.structs.replace(self, compression="none")

    @property
    def file_compression(self) -> Literal["none", "gzip", "zstd"]:
        """The compression of each file written: a single file's by its name."""
        if self.kind == "folder":
            return self.compression
        if self.path.endswith(".gz"):
            return "gzip"
        return "zstd" if self.path.endswith(".zst") else "none"


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is logged to stderr, and how.

    Attributes:
        level: the least severe level that is logged.
        format: ``text`` for people, ``json`` for one object a line.
    """

    level: Literal["error", "warning", "info", "debug", "trace"] = "info"
    format: Literal["text", "json"] = "text"


class AwsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How AWS is reached; credentials come from the SDK's own chain alone.

    Attributes:
        profile: a profile of the SDK's configuration, or None for the SDK's own choice.
        endpoint_url: ``http(s)://host[:port]`` for all services, or None for the real ones.
        allow_insecure_endpoint: allow http to another machine, by whatever it is configured.
    """

    profile: Text | None = None
    endpoint_url: EndpointUrl | None = None
    allow_insecure_endpoint: Flag = False
