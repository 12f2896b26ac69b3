"""EC2, as far as DescribeRegions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from harvester.simulator.errors import AwsError
from harvester.simulator.vocabulary import OPT_IN_REGIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from harvester.simulator.calls import Call
    from harvester.simulator.faults import Faults
    from harvester.simulator.organization import Organization

_REGION_NAME: Final = re.compile(r"RegionName\.\d+")
_FILTER: Final = re.compile(r"Filter\.(\d+)\.Name")
_DNS_SUFFIX: Final = {"aws-cn": "amazonaws.com.cn"}


class Ec2:
    """DescribeRegions."""

    def __init__(self, organization: Organization, faults: Callable[[], Faults]) -> None:
        self._organization = organization
        self._faults = faults
        self.operations = {"DescribeRegions": self.describe_regions}

    def describe_regions(self, call: Call) -> dict[str, Any]:
        """The regions that are enabled for the caller's account, or with AllRegions all."""
        if call.account in self._faults().regions_denied_accounts:
            raise AwsError(
                "UnauthorizedOperation",
                403,
                "You are not authorized to perform this operation. "
                f"User: {call.identity.arn} is not authorized to perform: ec2:DescribeRegions "
                "because no identity-based policy allows the ec2:DescribeRegions action",
            )
        enabled = self._organization.enabled_regions(call.account)
        known = sorted(self._organization.known_regions)
        asked = [value for key, value in call.parameters.items() if _REGION_NAME.fullmatch(key)]
        for name in asked:
            if name not in known:
                raise AwsError("InvalidParameterValue", 400, f"Invalid region provided: {name}")
        with_all = call.parameters.get("AllRegions", "false").lower() == "true"
        names = asked or (known if with_all else sorted(enabled))
        rows = [self._row(name, enabled=name in enabled) for name in names]
        return {"regionInfo": [row for row in rows if _passes(row, call.parameters)]}

    def _row(self, name: str, *, enabled: bool) -> dict[str, Any]:
        suffix = _DNS_SUFFIX.get(self._organization.partition, "amazonaws.com")
        opted = "opted-in" if name in OPT_IN_REGIONS else "opt-in-not-required"
        return {
            "regionName": name,
            "regionEndpoint": f"ec2.{name}.{suffix}",
            "optInStatus": opted if enabled else "not-opted-in",
        }


def _passes(row: dict[str, Any], parameters: dict[str, Any]) -> bool:
    """Whether a region passes every filter of the request."""
    members = {
        "region-name": "regionName",
        "endpoint": "regionEndpoint",
        "opt-in-status": "optInStatus",
    }
    for key, name in parameters.items():
        match = _FILTER.fullmatch(key)
        if match is None:
            continue
        if name not in members:
            raise AwsError("InvalidParameterValue", 400, f"The filter '{name}' is invalid")
        prefix = f"Filter.{match[1]}.Value."
        values = [value for other, value in parameters.items() if other.startswith(prefix)]
        if row[members[name]] not in values:
            return False
    return True
