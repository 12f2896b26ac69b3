"""To which target a line of a finished file belongs, and whether it is selected still."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from harvester.names import is_account, is_region
from harvester.output.lines import DamagedFileError

_ARN_PARTS = 6
_NOT_IN_ARNS = re.compile(r"[ _]")


class _Details(msgspec.Struct, gc=False):
    vulnerabilityId: Any = None  # noqa: N815  # the API's name, as those below


class Fields(msgspec.Struct, gc=False):
    """The fields of a finding that say where it was read and which filters hold for it."""

    awsAccountId: Any = None  # noqa: N815
    imageBuildVersionArn: Any = None  # noqa: N815
    imagePipelineArn: Any = None  # noqa: N815
    severity: Any = None
    packageVulnerabilityDetails: msgspec.Raw = msgspec.Raw(b"null")  # noqa: N815

    def value(self, name: str) -> Any:
        """Return the value of an API filter's field, None where the finding lacks it."""
        if name != "vulnerabilityId":
            return getattr(self, name)
        try:
            return _decode_details(self.packageVulnerabilityDetails).vulnerabilityId
        except (msgspec.DecodeError, ValueError):
            return None

    @property
    def place(self) -> tuple[str | None, str | None]:
        """The account and the region, each None where the line does not say."""
        account = self.awsAccountId if _is(self.awsAccountId, is_account) else None
        region = None
        for arn in (self.imageBuildVersionArn, self.imagePipelineArn):
            parts = arn.split(":", _ARN_PARTS - 1) if isinstance(arn, str) else []
            if len(parts) == _ARN_PARTS and parts[2] == "imagebuilder":
                region = region or (parts[3] if is_region(parts[3]) else None)
                account = account or (parts[4] if is_account(parts[4]) else None)
        return account, region


def _is(value: Any, check: Any) -> bool:
    return isinstance(value, str) and bool(check(value))


_decode = msgspec.json.Decoder(Fields).decode
_decode_details = msgspec.json.Decoder(_Details).decode


def fields_of(line: bytes) -> Fields:
    """Return the fields of a line.

    Raises:
        DamagedFileError: it is not a JSON object.
    """
    try:
        return _decode(line)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return _decode_by_json(line)


def _decode_by_json(line: bytes) -> Fields:
    # The standard library's decoder takes lone surrogates and numbers of any size.
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise DamagedFileError(f"it has a line that is not a JSON object: {line[:60]!r}")
    details = json.dumps(found.get("packageVulnerabilityDetails"))
    return Fields(
        found.get("awsAccountId"),
        found.get("imageBuildVersionArn"),
        found.get("imagePipelineArn"),
        found.get("severity"),
        msgspec.Raw(details.encode("ascii")),
    )


@dataclass(frozen=True, slots=True)
class Selection:
    """Which findings a sweep reads, as far as a line can tell.

    Attributes:
        filters: the values of each API filter.
        pipelines: globs of the names or ARNs of pipelines.
    """

    filters: Mapping[str, Sequence[str]] = field(default_factory=dict)
    pipelines: Sequence[str] = ()

    def holds(self, fields: Fields) -> bool:
        """Return whether a finding is one that the sweep would read."""
        if any(fields.value(name) not in values for name, values in self.filters.items() if values):
            return False
        return not self.pipelines or self._is_of_pipeline(fields.imagePipelineArn)

    def _is_of_pipeline(self, arn: Any) -> bool:
        # A line has no pipeline's name; an ARN ends in that name, in lower case and with "-".
        if not isinstance(arn, str):
            return False
        name = arn.rpartition("/")[2]
        return any(
            fnmatchcase(arn, glob) or fnmatchcase(name, _NOT_IN_ARNS.sub("-", glob).lower())
            for glob in self.pipelines
        )
