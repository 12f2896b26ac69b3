"""Define the values that the service's filters take, and the spelling that they need.

The service compares filter values case-sensitively, one value per request. A value that cannot
match for its spelling alone is refused: it would read nothing and look like a result.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta

from harvester.settings.suggestions import LIST_SEPARATORS, Spelling
from harvester.spelling import closest

KNOWN_SEVERITIES = ("UNTRIAGED", "INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL")
"""The severities that the service documents; it may use others."""

_DASH = "[-_ \u2010-\u2015]"
_CVE = re.compile(rf"cve{_DASH}?([0-9]{{4}}){_DASH}([0-9]+)", re.IGNORECASE)
_GHSA = re.compile(r"ghsa((?:-[0-9a-z]{4}){3})", re.IGNORECASE)
_NUMBER_OF_A_CVE = re.compile(r"[0-9]{4}-[0-9]{4,}")
_OF_NO_ID = re.compile(r"[*?]|://|\.\Z")
_GLOB_CLASS = re.compile(r"\[!?\]?[^\]]*\]")
_ARN_SEPARATORS = re.compile(r"[\s,;|]+|(?=arn:aws)")


_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_ -]*")
_SHORTEST_BEGINNING = 2


def _tidy_severity(text: str) -> str:
    """Return the documented severity that a text abbreviates or misspells, else the text."""
    upper = text.upper()
    if len(upper) >= _SHORTEST_BEGINNING:
        begun = [known for known in KNOWN_SEVERITIES if known.startswith(upper)]
        if len(begun) == 1:
            return begun[0]
    return closest(upper, KNOWN_SEVERITIES) or upper


_SEVERITY = Spelling(_tidy_severity)


def _is_spelt_as_a_severity(text: str) -> bool:
    if text in KNOWN_SEVERITIES:
        return True
    if not _WORD.fullmatch(text):
        return False
    known = [part in KNOWN_SEVERITIES for part in _SEVERITY.values_in(text)]
    return not any(known) or not (all(known) or LIST_SEPARATORS.search(text))


def _tidy_vulnerability_id(text: str) -> str:
    if match := _CVE.fullmatch(text):
        return f"CVE-{match[1]}-{match[2]}"
    if match := _GHSA.fullmatch(text):
        return f"GHSA{match[1].lower()}"
    if _NUMBER_OF_A_CVE.fullmatch(text):
        return f"CVE-{text}"
    return text


def _is_spelt_as_a_vulnerability_id(text: str) -> bool:
    if _OF_NO_ID.search(text):
        return False
    if LIST_SEPARATORS.search(text) or text != text.strip() or _tidy_vulnerability_id(text) != text:
        return False
    return not any(_CVE.fullmatch(part) or _GHSA.fullmatch(part) for part in text.split()[1:])


def _can_match_a_pipeline(glob: str) -> bool:
    return glob == glob.strip() and not re.search(r"[,;|{}]", _GLOB_CLASS.sub("", glob))


Severity = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=1024,
        description=f"one severity as the service spells it: {', '.join(KNOWN_SEVERITIES)}",
        extra={
            "check": lambda text: text.isprintable() and _is_spelt_as_a_severity(text),
            "spelling": _SEVERITY,
        },
    ),
]
VulnerabilityId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=1024,
        description="one vulnerability's id as the service spells it, text such as CVE-2021-44228",
        extra={
            "check": lambda text: text.isprintable() and _is_spelt_as_a_vulnerability_id(text),
            "spelling": Spelling(_tidy_vulnerability_id),
        },
    ),
]
PipelineGlob = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=1024,
        description="a pattern for names or ARNs of pipelines: printable text of 1 to 1024"
        " characters with *, ? and [abc]; no name holds a comma or a brace",
        extra={
            "check": lambda text: text.isprintable() and _can_match_a_pipeline(text),
            "spelling": Spelling(str.strip, LIST_SEPARATORS, around=" \t\r\n\"'`"),
        },
    ),
]
ImageArn = Annotated[
    str,
    Meta(
        pattern=r"^arn:aws[a-z-]*:imagebuilder:[a-z0-9-]+:(?:[0-9]{12}|aws(?:-[a-z-]+)?)"
        r":image/[a-z0-9_-]+/[0-9]+\.[0-9]+\.[0-9]+/[0-9]+\Z",
        max_length=1024,
        description="the ARN of an image's build version"
        " (arn:aws:imagebuilder:REGION:ACCOUNT:image/NAME/1.0.0/1)",
        extra={"spelling": Spelling(str.lower, _ARN_SEPARATORS)},
    ),
]
PipelineArn = Annotated[
    str,
    Meta(
        pattern=r"^arn:aws[a-z-]*:imagebuilder:[a-z0-9-]+:(?:[0-9]{12}|aws)"
        r":image-pipeline/[a-z0-9_-]+\Z",
        max_length=1024,
        description="the ARN of a pipeline"
        " (arn:aws:imagebuilder:REGION:ACCOUNT:image-pipeline/NAME)",
        extra={"spelling": Spelling(str.lower, _ARN_SEPARATORS)},
    ),
]

FILTER_KINDS: Mapping[str, Any] = {
    "imageBuildVersionArn": ImageArn,
    "imagePipelineArn": PipelineArn,
    "vulnerabilityId": VulnerabilityId,
    "severity": Severity,
}
"""The API's filter names, and the type of each one's values."""
