"""What one account holds in one region: pipelines, images, findings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

Finding = dict[str, Any]

#: The filters of ListImageScanFindings, in the order of a finding's facets.
FILTER_NAMES = ("severity", "imagePipelineArn", "imageBuildVersionArn", "vulnerabilityId")


class Facets(NamedTuple):
    """What a finding can be filtered by; None where it has no such member."""

    severity: str | None
    pipeline: str | None
    image: str | None
    vulnerability: str | None


def facets_of(finding: Finding) -> Facets:
    """The facets of a finding as on the wire."""
    details = finding.get("packageVulnerabilityDetails") or {}
    return Facets(
        finding.get("severity"),
        finding.get("imagePipelineArn"),
        finding.get("imageBuildVersionArn"),
        details.get("vulnerabilityId"),
    )


@dataclass(frozen=True, slots=True)
class Pipeline:
    """An image pipeline. `name` may have capitals and spaces, the end of `arn` may not."""

    arn: str
    name: str


@dataclass(frozen=True, slots=True)
class Image:
    """A build version of an image: `arn` ends in NAME/1.2.3/BUILD.

    `pipeline` is the ARN of the pipeline that built it, None where it was built outside of any.
    `scan` is what GetImage reports as `scanState.status`.
    """

    arn: str
    name: str
    pipeline: str | None = None
    scan: str = "COMPLETED"
    created: str = "2026-01-15T08:00:00.000Z"
    platform: str = "Linux"

    @property
    def version_arn(self) -> str:
        """The ARN of the version, without the build."""
        return self.arn.rpartition("/")[0]

    @property
    def version(self) -> str:
        """The version with its build: 1.2.3/4."""
        return self.arn.split("/", 2)[2]


@dataclass(frozen=True, slots=True)
class Target:
    """What one account holds in one region; `findings` are in the order in which they are served."""

    pipelines: tuple[Pipeline, ...] = ()
    images: tuple[Image, ...] = ()
    findings: Sequence[Finding] = ()

    @classmethod
    def of(cls, findings: Sequence[Finding]) -> Target:
        """A target with these findings, and the pipelines and images that they speak of."""
        arns = {facets.pipeline: None for facets in map(facets_of, findings) if facets.pipeline}
        pipelines = tuple(Pipeline(arn, arn.rpartition("/")[2]) for arn in arns)
        built_by = {f.image: f.pipeline for f in map(facets_of, findings) if f.image}
        images = tuple(Image(arn, arn.split("/")[1], pipe) for arn, pipe in built_by.items())
        return cls(pipelines, images, list(findings))

    def plus(self, findings: Sequence[Finding]) -> Target:
        """The same with these findings last, and with the pipelines and images that they name."""
        new = Target.of(findings)
        pipelines = {one.arn: one for one in (*new.pipelines, *self.pipelines)}
        images = {one.arn: one for one in (*new.images, *self.images)}
        both = [*self.findings, *findings]
        return Target(tuple(pipelines.values()), tuple(images.values()), both)

    def facets(self, index: int) -> Facets:
        """What finding number `index` can be filtered by."""
        # A generated finding knows its facets without being built.
        quick = getattr(self.findings, "facets", None)
        return quick(index) if quick else facets_of(self.findings[index])
