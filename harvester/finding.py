"""The type of one finding, as the API names it: the shape of a line of output.

Every key may be missing: the service promises none of them. It may also send keys that are not
listed here; they are kept. Timestamps are ISO 8601 in UTC with milliseconds.
"""

from __future__ import annotations

from typing import TypedDict


class RemediationRecommendation(TypedDict, total=False):
    """What Amazon Inspector recommends, and where to read more."""

    text: str
    url: str


class Remediation(TypedDict, total=False):
    """How to remediate a finding."""

    recommendation: RemediationRecommendation


class CvssScoreAdjustment(TypedDict, total=False):
    """A change that Amazon Inspector made to a CVSS score, and its reason."""

    metric: str
    reason: str


class CvssScoreDetails(TypedDict, total=False):
    """The CVSS score of a finding as Amazon Inspector adjusted it."""

    scoreSource: str
    cvssSource: str
    version: str
    score: float
    scoringVector: str
    adjustments: list[CvssScoreAdjustment]


class InspectorScoreDetails(TypedDict, total=False):
    """How Amazon Inspector scored a finding."""

    adjustedCvss: CvssScoreDetails


class VulnerablePackage(TypedDict, total=False):
    """A package of the image that a vulnerability affects."""

    name: str
    version: str
    sourceLayerHash: str
    epoch: int
    release: str
    arch: str
    packageManager: str
    filePath: str
    fixedInVersion: str
    remediation: str


class CvssScore(TypedDict, total=False):
    """A CVSS score that a vulnerability was given."""

    baseScore: float
    scoringVector: str
    version: str
    source: str


class PackageVulnerabilityDetails(TypedDict, total=False):
    """The vulnerability, and the packages that it affects."""

    vulnerabilityId: str
    vulnerablePackages: list[VulnerablePackage]
    source: str
    cvss: list[CvssScore]
    relatedVulnerabilities: list[str]
    sourceUrl: str
    vendorSeverity: str
    vendorCreatedAt: str
    vendorUpdatedAt: str
    referenceUrls: list[str]


class Finding(TypedDict, total=False):
    """One image scan finding."""

    awsAccountId: str
    imageBuildVersionArn: str
    imagePipelineArn: str
    type: str
    description: str
    title: str
    remediation: Remediation
    severity: str
    firstObservedAt: str
    updatedAt: str
    inspectorScore: float
    inspectorScoreDetails: InspectorScoreDetails
    packageVulnerabilityDetails: PackageVulnerabilityDetails
    fixAvailable: str
