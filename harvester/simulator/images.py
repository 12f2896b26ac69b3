"""Image Builder's listings of pipelines and images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from harvester.simulator.errors import AwsError, invalid_request
from harvester.simulator.findings import open_token, page_size
from harvester.simulator.tokens import Position

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harvester.simulator.behaviour import Behaviour
    from harvester.simulator.calls import Call
    from harvester.simulator.store import Store
    from harvester.simulator.target import Image, Pipeline, Target
    from harvester.simulator.tokens import PageTokens

_LARGEST_PAGE: Final = 25
_PIPELINE_FILTERS: Final = frozenset({"name", "arn", "status"})
_IMAGE_FILTERS: Final = frozenset({"name", "version", "platform", "type", "osVersion"})
_OWNERS: Final = frozenset({"Self", "Shared", "Amazon", "ThirdParty", "AWSMarketplace"})


class ImageOperations:
    """ListImagePipelines, ListImagePipelineImages, ListImages, ListImageBuildVersions, GetImage."""

    def __init__(self, store: Store, behaviour: Behaviour, tokens: PageTokens) -> None:
        self._store = store
        self._behaviour = behaviour
        self._tokens = tokens
        self.operations = {
            "ListImagePipelines": self.list_pipelines,
            "ListImagePipelineImages": self.list_pipeline_images,
            "ListImages": self.list_images,
            "ListImageBuildVersions": self.list_build_versions,
            "GetImage": self.get_image,
        }

    def list_pipelines(self, call: Call) -> dict[str, Any]:
        """The pipelines of the caller's account in the region."""
        rows = [_pipeline(pipeline) for pipeline in self._target(call).pipelines]
        return self._page(call, "imagePipelineList", rows, _PIPELINE_FILTERS)

    def list_pipeline_images(self, call: Call) -> dict[str, Any]:
        """The build versions that a pipeline made."""
        arn = call.parameters.get("imagePipelineArn")
        if not isinstance(arn, str):
            raise invalid_request("The parameter 'imagePipelineArn' is required.")
        target = self._target(call)
        if all(pipeline.arn != arn for pipeline in target.pipelines):
            raise _not_found(arn)
        rows = [_summary(image, call) for image in target.images if image.pipeline == arn]
        return self._page(call, "imageSummaryList", rows, _IMAGE_FILTERS, arn)

    def list_images(self, call: Call) -> dict[str, Any]:
        """The image versions; only those of the caller's own account exist here."""
        owner = call.parameters.get("owner", "Self")
        if not isinstance(owner, str) or owner not in _OWNERS:
            raise invalid_request(f"The value '{owner}' of parameter 'owner' is not valid.")
        images = self._target(call).images if owner == "Self" else ()
        versions = {image.version_arn: image for image in images}
        rows = [_version(image, call) for image in versions.values()]
        return self._page(call, "imageVersionList", rows, _IMAGE_FILTERS, owner)

    def list_build_versions(self, call: Call) -> dict[str, Any]:
        """The build versions of an image version, or of all."""
        arn = call.parameters.get("imageVersionArn")
        images: Iterable[Image] = self._target(call).images
        rows = [_summary(image, call) for image in images if arn in (None, image.version_arn)]
        return self._page(call, "imageSummaryList", rows, _IMAGE_FILTERS, arn or "")

    def get_image(self, call: Call) -> dict[str, Any]:
        """A build version, with the state of its scan."""
        arn = call.parameters.get("imageBuildVersionArn")
        for image in self._target(call).images:
            if image.arn == arn:
                return {"requestId": call.request_id, "image": _image(image)}
        raise _not_found(str(arn))

    def _target(self, call: Call) -> Target:
        return self._store.target(call.account, call.region)

    def _page(
        self,
        call: Call,
        name: str,
        rows: list[dict[str, Any]],
        filters: frozenset[str],
        about: str = "",
    ) -> dict[str, Any]:
        wanted = _filters(call.parameters, filters)
        rows = [row for row in rows if all(row.get(key) in values for key, values in wanted)]
        size = page_size(call.parameters, _LARGEST_PAGE, _LARGEST_PAGE)
        query = f"{call.operation}/{call.account}/{call.region}/{about}/{wanted}"
        start = open_token(self._tokens, query, call.parameters).offset
        page = {"requestId": call.request_id, name: rows[start : start + size]}
        if start + size < len(rows):
            return page | {"nextToken": self._tokens.seal(query, Position(start + size))}
        return page | self._behaviour.ending("nextToken")


def _filters(parameters: dict[str, Any], names: frozenset[str]) -> list[tuple[str, list[str]]]:
    """Names and values of the filters: values are alternatives, all filters must hold."""
    filters = parameters.get("filters", [])
    if not isinstance(filters, list):
        raise invalid_request("The value supplied for parameter 'filters' is not valid.")
    wanted = []
    for given in filters:
        name, values = (
            (given.get("name"), given.get("values")) if isinstance(given, dict) else (None, None)
        )
        if name not in tuple(names) or not isinstance(values, list) or not values:
            raise invalid_request(f"The filter '{name}' is not valid for this operation.")
        wanted.append((str(name), values))
    return wanted


def _pipeline(pipeline: Pipeline) -> dict[str, Any]:
    return {
        "arn": pipeline.arn,
        "name": pipeline.name,
        "platform": "Linux",
        "enhancedImageMetadataEnabled": True,
        "status": "ENABLED",
        "dateCreated": "2025-06-01T09:00:00.000Z",
        "dateUpdated": "2026-01-15T09:00:00.000Z",
        "imageScanningConfiguration": {"imageScanningEnabled": True},
    }


def _version(image: Image, call: Call) -> dict[str, Any]:
    return {
        "arn": image.version_arn,
        "name": image.name,
        "type": "AMI",
        "version": image.version.partition("/")[0],
        "platform": image.platform,
        "owner": call.account,
        "dateCreated": image.created,
        "buildType": "SCHEDULED" if image.pipeline else "IMPORT",
        "imageSource": "CUSTOM" if image.pipeline else "IMPORTED",
    }


def _summary(image: Image, call: Call) -> dict[str, Any]:
    state = {"state": {"status": "AVAILABLE"}}
    return _version(image, call) | {"arn": image.arn, "version": image.version} | state


def _image(image: Image) -> dict[str, Any]:
    details = {
        "arn": image.arn,
        "type": "AMI",
        "name": image.name,
        "version": image.version,
        "platform": image.platform,
        "state": {"status": "AVAILABLE"},
        "dateCreated": image.created,
        "scanState": {"status": image.scan},
        "imageScanningConfiguration": {"imageScanningEnabled": True},
    }
    if image.pipeline:
        details["sourcePipelineArn"] = image.pipeline
        details["sourcePipelineName"] = image.pipeline.rpartition("/")[2]
    return details


def _not_found(arn: str) -> AwsError:
    return AwsError(
        "ResourceNotFoundException", 404, f"The resource with ARN '{arn}' was not found."
    )
