"""Image Builder as a `Wire`: answers from a list of findings, with counts that may be wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from harvester.errors import RefusedError, TransientError
from harvester.paging.channel import Call

Finding = dict[str, Any]


class FakeImageBuilder:
    """One account and region. `counted` changes what the aggregations say, `denied` refuses,
    `failing` fails, and a service may ignore filters. More than `largest` a page is refused as
    `too_large`. The first `swallowed` answers to ListImageScanFindings lack their last finding.
    Each page begins with the last `repeated` findings of the page before."""

    def __init__(
        self,
        findings: Sequence[Finding],
        *,
        images: Sequence[str] | None = None,
        counted: Callable[[int, int], int] = lambda true, _calls: true,
        denied: frozenset[str] = frozenset(),
        failing: frozenset[str] = frozenset(),
        ignores_filters: bool = False,
        largest: int = 100,
        swallowed: int = 0,
        repeated: int = 0,
        too_large: str = "InvalidRequestException",
    ) -> None:
        self.findings = list(findings)
        self.calls: Counter[str] = Counter()
        self.filters: list[tuple[str, str] | None] = []
        self._counted = counted
        self._denied = denied
        self._failing = failing
        self._ignores_filters = ignores_filters
        self._largest, self._too_large = largest, too_large
        self._swallowed, self._repeated = swallowed, repeated
        known = {str(one["imageBuildVersionArn"]) for one in findings}
        self._images = sorted(known) if images is None else list(images)

    async def open(self, service: str, region: str) -> None:
        """Nothing to make ready."""

    async def call(self, call: Call, signer: Any) -> bytes:
        del signer
        assert (call.service, call.region) == ("imagebuilder", "eu-west-1")
        operation, parameters, account = call.operation, call.parameters, call.account
        self.calls[operation] += 1
        if operation in self._denied:
            raise RefusedError("AccessDeniedException", "no", operation=operation, account=account)
        if parameters.get("maxResults", 0) > self._largest:
            raise RefusedError(self._too_large, "no", operation=operation, status=400)
        if operation in self._failing:
            raise TransientError("ServiceException", "no", operation=operation, status=500)
        answer: dict[str, Any] = getattr(self, f"_{operation}")(parameters)
        return orjson.dumps(answer)

    def _list_image_scan_findings(self, parameters: dict[str, Any]) -> dict[str, Any]:
        (given,) = parameters.get("filters", [None])
        chosen = self.findings
        if given is not None and not self._ignores_filters:
            (value,) = given["values"]
            chosen = [one for one in chosen if one.get(given["name"]) == value]
        self.filters.append((given["name"], given["values"][0]) if given else None)
        start = int(parameters.get("nextToken", "0"))
        end = start + parameters["maxResults"]
        last = end - 1 if self.calls["list_image_scan_findings"] <= self._swallowed else end
        page: dict[str, Any] = {"findings": chosen[max(0, start - self._repeated) : last]}
        return page | ({"nextToken": str(end)} if end < len(chosen) else {})

    def _list_image_scan_finding_aggregations(self, parameters: dict[str, Any]) -> dict[str, Any]:
        given = parameters.get("filter")
        calls = self.calls["list_image_scan_finding_aggregations"]
        if given is None:
            by = Counter(str(one.get("severity")).lower() for one in self.findings)
            counts = {name: by[name] for name in ("critical", "high", "medium")}
            counts["all"] = self._counted(len(self.findings), calls)
            return {"responses": [{"accountAggregation": {"severityCounts": counts}}]}
        assert len(given["values"]) <= 10
        name = given["name"]
        member = {
            "imageBuildVersionArn": "imageAggregation",
            "imagePipelineArn": "imagePipelineAggregation",
            "vulnerabilityId": "vulnerabilityIdAggregation",
        }[name]
        by = Counter(str(one.get(name)) for one in self.findings)
        return {
            "responses": [
                {member: {name: value, "severityCounts": {"all": self._counted(by[value], calls)}}}
                for value in given["values"]
                if by[value]
            ]
        }

    def _list_image_pipelines(self, parameters: dict[str, Any]) -> dict[str, Any]:
        del parameters
        arns = {one["imagePipelineArn"] for one in self.findings if one.get("imagePipelineArn")}
        return {"imagePipelineList": [{"arn": arn, "name": arn} for arn in sorted(arns)]}

    def _list_images(self, parameters: dict[str, Any]) -> dict[str, Any]:
        del parameters
        versions = {arn.rpartition("/")[0] for arn in self._images}
        return {"imageVersionList": [{"arn": arn} for arn in sorted(versions)]}

    def _list_image_build_versions(self, parameters: dict[str, Any]) -> dict[str, Any]:
        version = parameters["imageVersionArn"]
        builds = [arn for arn in self._images if arn.rpartition("/")[0] == version]
        return {"imageSummaryList": [{"arn": arn} for arn in builds]}

    def _list_image_pipeline_images(self, parameters: dict[str, Any]) -> dict[str, Any]:
        made = {
            one["imageBuildVersionArn"]
            for one in self.findings
            if one.get("imagePipelineArn") == parameters["imagePipelineArn"]
        }
        return {"imageSummaryList": [{"arn": arn} for arn in sorted(made)]}
