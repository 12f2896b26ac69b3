"""A catalogue of made-up vulnerabilities, which findings are instances of.

Each entry holds a finding's JSON already encoded, with what differs from finding to finding left
empty: decoding it gives a fresh dict, which is several times faster than building one.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import orjson

from harvester.simulator.vocabulary import (
    FOREIGN_SENTENCES,
    PACKAGES,
    REFERENCES,
    SENTENCES,
    SEVERITIES,
    SOURCES,
    WEAKNESSES,
)

SIZE: Final = 512
# The model allows 1,024 characters to a description and to a title.
_LONGEST: Final = 1000
_DAY: Final = 86_400
_YEAR_2019: Final = 1_546_300_800
_SCORED: Final = ("CRITICAL", "HIGH", "MEDIUM", "LOW")


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """An entry: its id, its severity, and the JSON of a finding of it."""

    id: str
    severity: str
    template: bytes


@lru_cache(maxsize=16)
def catalogue(seed: int) -> tuple[Vulnerability, ...]:
    """`SIZE` vulnerabilities, the same for the same seed; severities are skewed."""
    rng = random.Random(f"catalogue {seed}")
    return tuple(_vulnerability(rng, number) for number in range(SIZE))


def _vulnerability(rng: random.Random, number: int) -> Vulnerability:
    severity, _, scores = rng.choices(SEVERITIES, [share for _, share, _ in SEVERITIES])[0]
    score = round(rng.uniform(*scores), 1)
    packages = rng.sample(PACKAGES, rng.choice((1, 1, 1, 2, 2, 3)))
    identifier = _identifier(rng, number)
    template: dict[str, Any] = {
        "awsAccountId": "",
        "imageBuildVersionArn": "",
        "imagePipelineArn": "",
        "type": "PACKAGE_VULNERABILITY",
        "description": _description(rng, packages[0]),
        "title": f"{identifier} - {', '.join(package[0] for package in packages)}",
        "remediation": _remediation(rng, packages[0]),
        "severity": severity,
        "firstObservedAt": 0.0,
        "updatedAt": 0.0,
        "inspectorScore": score,
        "inspectorScoreDetails": _score_details(rng, score),
        "packageVulnerabilityDetails": _details(rng, identifier, severity, score, packages),
        "fixAvailable": rng.choice(("YES", "YES", "YES", "NO", "PARTIAL")),
    }
    if severity not in _SCORED:
        del template["inspectorScore"], template["inspectorScoreDetails"]
    for name in ("description", "remediation", "fixAvailable"):
        if rng.random() < 0.03:  # noqa: PLR2004  # optional members are absent now and then
            del template[name]
    return Vulnerability(identifier, severity, orjson.dumps(template))


def _identifier(rng: random.Random, number: int) -> str:
    kind = rng.random()
    if kind < 0.88:  # noqa: PLR2004  # most are CVEs
        return f"CVE-{rng.randint(2019, 2026)}-{10_000 + number * 83 + rng.randrange(83)}"
    if kind < 0.96:  # noqa: PLR2004
        return f"ALAS2023-{rng.randint(2023, 2026)}-{number:03}"
    letters = "23456789cfghjmpqrvwx"
    return "GHSA-" + "-".join("".join(rng.choices(letters, k=4)) for _ in range(3))


def _description(rng: random.Random, package: tuple[str, ...]) -> str:
    sentences = [SENTENCES[0], *rng.sample(SENTENCES[1:], rng.randint(2, 6))]
    if rng.random() < 0.2:  # noqa: PLR2004
        sentences.insert(rng.randrange(2), rng.choice(FOREIGN_SENTENCES))
    text = " ".join(sentences)
    text = text.replace("{package}", package[0]).replace("{fixed}", package[4])
    return text.replace("{weakness}", rng.choice(WEAKNESSES))[:_LONGEST]


def _remediation(rng: random.Random, package: tuple[str, ...]) -> dict[str, Any]:
    recommendation = {"text": f"Update {package[0]} to {package[4]} or later.\nThen rebuild."}
    if rng.random() < 0.5:  # noqa: PLR2004
        recommendation["url"] = rng.choice(REFERENCES)
    return {"recommendation": recommendation}


def _vector(rng: random.Random) -> str:
    attack, privileges, impact = rng.choice("NAL"), rng.choice("NLH"), rng.choice("HLN")
    return f"CVSS:3.1/AV:{attack}/AC:L/PR:{privileges}/UI:N/S:U/C:{impact}/I:{impact}/A:H"


def _score_details(rng: random.Random, score: float) -> dict[str, Any]:
    adjusted: dict[str, Any] = {
        "scoreSource": "NVD",
        "cvssSource": "NVD",
        "version": "3.1",
        "score": score,
        "scoringVector": _vector(rng),
        "adjustments": [],
    }
    if rng.random() < 0.25:  # noqa: PLR2004
        reason = "Use contextual network reachability data from Amazon Inspector"
        adjusted["adjustments"] = [{"metric": "Attack Vector", "reason": reason}]
    return {"adjustedCvss": adjusted}


def _details(
    rng: random.Random,
    identifier: str,
    severity: str,
    score: float,
    packages: list[tuple[str, str, str, str, str]],
) -> dict[str, Any]:
    source, page = rng.choice(SOURCES)
    created = _YEAR_2019 + rng.randrange(2500) * _DAY + rng.randrange(1440) * 60
    details: dict[str, Any] = {
        "vulnerabilityId": identifier,
        "vulnerablePackages": [_package(rng, package) for package in packages],
        "source": source,
        "cvss": [
            {"baseScore": score, "scoringVector": _vector(rng), "version": "3.1", "source": name}
            for name, _ in SOURCES[: rng.randint(0, 3)]
        ],
        "relatedVulnerabilities": [
            f"CVE-{rng.randint(2019, 2026)}-{rng.randint(1000, 9999)}"
            for _ in range(rng.choice((0, 0, 0, 1, 3)))
        ],
        "sourceUrl": page + identifier,
        "vendorSeverity": severity.lower() if severity in _SCORED else "untriaged",
        # Vendors date to the second at best: a fraction of zero is the rule here.
        "vendorCreatedAt": float(created),
        "vendorUpdatedAt": created + rng.randrange(200 * _DAY) + rng.choice((0.0, 0.0, 0.5, 0.123)),
        "referenceUrls": rng.sample(REFERENCES, rng.randint(1, 4)),
    }
    for name in ("vendorSeverity", "vendorCreatedAt", "vendorUpdatedAt", "referenceUrls"):
        if rng.random() < 0.08:  # noqa: PLR2004
            del details[name]
    return details


def _package(rng: random.Random, package: tuple[str, str, str, str, str]) -> dict[str, Any]:
    name, manager, version, release, fixed = package
    entry: dict[str, Any] = {"name": name, "version": version, "packageManager": manager}
    if manager == "OS":
        entry |= {"epoch": rng.choice((0, 0, 1, 2)), "release": release, "arch": "X86_64"}
        entry["remediation"] = f"dnf update {name} --releasever 2023.6.20241212"
    else:
        entry["filePath"] = f"opt/app/{rng.choice(('lib', 'vendor', 'données'))}/{name}-{version}"
        entry["sourceLayerHash"] = f"sha256:{rng.getrandbits(256):064x}"
    if rng.random() < 0.9:  # noqa: PLR2004
        entry["fixedInVersion"] = fixed
    return entry
