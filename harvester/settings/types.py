"""What one value of a setting may be.

Each type carries its limits and the words for them, so that a rule and its message cannot
drift apart. In `extra`, `check` is for what a pattern cannot say; `private` is searched in a
refused value, and where it is found the message does not repeat the value; `unquoted` answers
a number where text belongs; `spelling` leads to a suggestion.
"""

from __future__ import annotations

import os
import re
from typing import Annotated, Any, get_args, get_origin
from urllib.parse import urlsplit

from msgspec import Meta

from harvester.errors import SettingsError
from harvester.settings.suggestions import Spelling
from harvester.settings.values import shown

_DURATION = re.compile(
    r"(?:(?P<hours>[0-9]{1,6}(?:\.[0-9]{1,3})?)h)?"
    r"(?:(?P<minutes>[0-9]{1,6}(?:\.[0-9]{1,3})?)m)?"
    r"(?:(?P<seconds>[0-9]{1,6}(?:\.[0-9]{1,3})?)s)?"
)
_A_DURATION = "a duration above zero such as 90s, 30m, 2h or 1h30m"
_REGION = r"[a-z]{2,8}(?:-[a-z]{2,12}){1,2}-[0-9]{1,2}"
_IAM_NAME = r"[A-Za-z0-9_+=,.@-]"


def parse_duration(text: str) -> float:
    """Seconds in a duration such as ``90s``, ``30m``, ``2h`` or ``1h30m``; always above zero.

    Raises SettingsError for anything else.
    """
    match = _DURATION.fullmatch(text)
    parts = match.groupdict(default="0") if match else {}
    seconds = sum(
        float(parts.get(unit, 0)) * size
        for unit, size in (("hours", 3600), ("minutes", 60), ("seconds", 1))
    )
    if not seconds:
        raise SettingsError(f"{shown(text)} is not {_A_DURATION}")
    return seconds


def is_path(kind: Any) -> bool:
    """Whether a type, or that type or None, is a path in the file system."""
    if get_origin(kind) is Annotated:
        return "path" in (get_args(kind)[1].extra or {})
    return any(map(is_path, get_args(kind)))


def _is_duration(text: str) -> bool:
    try:
        parse_duration(text)
    except SettingsError:
        return False
    return True


def _is_path(text: str) -> bool:
    # Bytes that are no UTF-8 reach Python as lone surrogates: fine in a path, but not all are.
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def _has_host_and_port(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _tidy_account(text: str) -> str:
    return re.sub(r"[\s._-]", "", text)


def _tidy_region(text: str) -> str:
    region = re.sub(r"[\s_]+", "-", text.lower())
    return "all" if text == "*" else re.sub(r"(?<=-[0-9])[a-z]\Z", "", region)


def _tidy_role(text: str) -> str:
    return re.sub(r"\Aarn:aws[a-z-]*:iam::[0-9]{12}:role/", "", text).strip("/")


def _tidy_duration(text: str) -> str:
    return re.sub(r"\s+", "", text.lower())


_ALWAYS = re.compile("")

Flag = Annotated[bool, Meta(description="true or false")]
Text = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=1024,
        description="printable text of 1 to 1024 characters",
        extra={"check": str.isprintable},
    ),
]
FilePath = Annotated[
    str,
    Meta(
        pattern=r"^(?!.*://)[^\x00-\x1f\x7f]{1,4096}\Z",
        description="a path of 1 to 4096 characters: no URL, no control characters",
        extra={"check": _is_path, "path": True, "private": re.compile(r"://.*[@?]")},
    ),
]
AccountId = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{12}\Z",
        description="an account id: 12 digits",
        extra={
            "unquoted": "an id is text in quotes, since leading zeros matter",
            "spelling": Spelling(_tidy_account),
        },
    ),
]
UnitId = Annotated[
    str,
    Meta(
        pattern=r"^(?:r-[0-9a-z]{4,32}|ou-[0-9a-z]{4,32}-[0-9a-z]{8,32})\Z",
        description="the id of an organizational unit (ou-ab12-cdefgh34) or of a root (r-ab12)",
        extra={"spelling": Spelling(str.lower)},
    ),
]
RoleName = Annotated[
    str,
    Meta(
        pattern=rf"^(?:{_IAM_NAME}+/)*{_IAM_NAME}{{1,64}}\Z",
        max_length=576,
        description="a role's name, with its path if it has one (Harvester, security/Harvester):"
        " no ARN, no leading slash; letters, digits and _+=,.@- are allowed",
        extra={"spelling": Spelling(_tidy_role)},
    ),
]
ExternalId = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_+=,.@:/-]{2,1224}\Z",
        description="2 to 1224 characters, each a letter, a digit or one of _+=,.@:/-",
        extra={"private": _ALWAYS},
    ),
]
SessionName = Annotated[
    str,
    Meta(
        pattern=rf"^{_IAM_NAME}{{2,64}}\Z",
        description="2 to 64 characters, each a letter, a digit or one of _+=,.@-",
    ),
]
RegionName = Annotated[
    str,
    Meta(
        pattern=rf"^{_REGION}\Z",
        description="a region's name such as us-east-1",
        extra={"spelling": Spelling(_tidy_region)},
    ),
]
RegionOrAll = Annotated[
    str,
    Meta(
        pattern=rf"^(?:all|{_REGION})\Z",
        description="a region's name such as us-east-1, or the word all",
        extra={"spelling": Spelling(_tidy_region)},
    ),
]
PageSize = Annotated[int, Meta(ge=1, le=100, description="a whole number from 1 to 100")]
Concurrency = Annotated[int, Meta(ge=1, le=1000, description="a whole number from 1 to 1000")]
Processes = Annotated[int, Meta(ge=1, le=64, description="a whole number from 1 to 64")]
Rate = Annotated[
    float, Meta(gt=0, le=1000, description="a number of requests a second above 0, up to 1000")
]
Duration = Annotated[
    str,
    Meta(
        description=_A_DURATION, extra={"check": _is_duration, "spelling": Spelling(_tidy_duration)}
    ),
]
EndpointUrl = Annotated[
    str,
    Meta(
        pattern=r"^https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?/?\Z",
        description="an http or https URL of a host and perhaps a port, with no path and no"
        " credentials in it, such as http://127.0.0.1:4566",
        extra={"check": _has_host_and_port, "private": re.compile(r"[@?#]")},
    ),
]
