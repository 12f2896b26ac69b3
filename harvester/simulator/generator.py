"""Seeded organizations: realistic in shape, skewed in size, made piece by piece as they are read.

A finding is a pure function of seed, account, region and index, so a million of them take no
memory, and the same seed gives the same organization anywhere.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, overload

import orjson

from harvester.simulator.catalogue import SIZE, catalogue
from harvester.simulator.target import Facets, Finding, Image, Pipeline, Target
from harvester.simulator.vocabulary import IMAGE_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping

_MASK: Final = (1 << 64) - 1
# 2026-01-05T00:00:00Z in milliseconds, and the time between the first sights of two findings.
_EPOCH: Final = 1_767_571_200_000
_STEP: Final = 4_321
_THIRTY_DAYS: Final = 30 * 86_400_000
_SCANS: Final = ("COMPLETED", "COMPLETED", "COMPLETED", "PENDING", "ABANDONED")


def scatter(key: int, index: int) -> int:
    """64 bits that look random, the same for the same key and index: SplitMix64."""
    z = (key + (index + 1) * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def key_of(*parts: object) -> int:
    """A 64-bit key of any values."""
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


@dataclass(frozen=True, slots=True)
class GeneratedFindings(Sequence[Finding]):
    """Findings that are made when they are read; each read gives a fresh dict."""

    seed: int
    key: int
    account: str
    size: int
    images: tuple[Image, ...]
    loose: tuple[Image, ...]
    without_pipeline: float

    def __len__(self) -> int:
        """How many there are."""
        return self.size

    @overload
    def __getitem__(self, index: int) -> Finding: ...

    @overload
    def __getitem__(self, index: slice) -> list[Finding]: ...

    def __getitem__(self, index: int | slice) -> Finding | list[Finding]:
        """Finding number `index`, or those of a slice."""
        if isinstance(index, slice):
            return [self._make(number) for number in range(self.size)[index]]
        return self._make(range(self.size)[index])

    def facets(self, index: int) -> Facets:
        """What finding number `index` can be filtered by, without making it."""
        bits = scatter(self.key, index)
        image, vulnerability = self._image(bits), catalogue(self.seed)[_skewed(bits)]
        return Facets(vulnerability.severity, image.pipeline, image.arn, vulnerability.id)

    def _image(self, bits: int) -> Image:
        loose = (bits & 0xFFFF) < self.without_pipeline * 0x10000
        images = self.loose if loose else self.images
        return images[(bits >> 16) % len(images)]

    def _make(self, index: int) -> Finding:
        bits = scatter(self.key, index)
        image = self._image(bits)
        finding: Finding = orjson.loads(catalogue(self.seed)[_skewed(bits)].template)
        finding["awsAccountId"] = self.account
        finding["imageBuildVersionArn"] = image.arn
        if image.pipeline is None:
            del finding["imagePipelineArn"]
        else:
            finding["imagePipelineArn"] = image.pipeline
        # Steps of their own keep any two findings of a target apart, though findings have no id.
        first = _EPOCH + index * _STEP + (bits >> 24) % _STEP
        finding["firstObservedAt"] = first / 1000
        finding["updatedAt"] = (first + (bits >> 30) % _THIRTY_DAYS) / 1000
        return finding


def _skewed(bits: int) -> int:
    """A number of the catalogue; low ones are common, high ones rare."""
    return ((bits >> 32) & 0xFFFF) * ((bits >> 48) & 0xFFFF) * SIZE >> 32


@dataclass(frozen=True, slots=True)
class GeneratedTargets:
    """Makes the target of an account and region when it is asked for."""

    seed: int
    partition: str
    sizes: Mapping[tuple[str, str], int]
    without_pipeline: float = 0.15

    def __call__(self, account: str, region: str) -> Target:
        """What `account` holds in `region`, the same each time."""
        size = self.sizes.get((account, region), 0)
        key = key_of(self.seed, account, region)
        rng = random.Random(key)
        if not size and rng.random() < 0.5:  # noqa: PLR2004  # half of the empty ones build nothing
            return Target()
        base = f"arn:{self.partition}:imagebuilder:{region}:{account}"
        names = rng.sample(IMAGE_NAMES, rng.randint(1, 5))
        pipelines = tuple(_pipeline(base, name) for name in names)
        images = tuple(
            image for pipe in pipelines for image in _builds(rng, base, pipe.name, pipe.arn)
        )
        loose = tuple(_builds(rng, base, "adhoc-import", None))
        if not size:
            images = tuple(_unscanned(rng, image) for image in images)
            return Target(pipelines, images)
        findings = GeneratedFindings(
            self.seed, key, account, size, images, loose, self.without_pipeline
        )
        return Target(pipelines, (*images, *loose), findings)


def _pipeline(base: str, name: str) -> Pipeline:
    return Pipeline(f"{base}:image-pipeline/{name}", name)


def _builds(rng: random.Random, base: str, name: str, pipeline: str | None) -> list[Image]:
    builds = []
    for minor in range(rng.randint(1, 2)):
        for build in range(1, rng.randint(1, 3) + 1):
            arn = f"{base}:image/{name}/1.{minor}.0/{build}"
            created = f"2026-0{rng.randint(1, 3)}-{rng.randint(10, 28)}T06:3{build}:00.{build:03}Z"
            platform = "Windows" if name.startswith("windows") else "Linux"
            builds.append(Image(arn, name, pipeline, "COMPLETED", created, platform))
    return builds


def _unscanned(rng: random.Random, image: Image) -> Image:
    return Image(
        image.arn, image.name, image.pipeline, rng.choice(_SCANS), image.created, image.platform
    )


def make_findings(
    count: int,
    *,
    account: str = "111122223333",
    region: str = "us-east-1",
    seed: int = 0,
    partition: str = "aws",
) -> list[Finding]:
    """`count` findings as on the wire, all different: something to build a target by hand from."""
    targets = GeneratedTargets(seed, partition, {(account, region): count})
    return list(targets(account, region).findings)
