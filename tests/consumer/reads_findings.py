"""A program that uses the library, as its author would write it: checked, never run."""

from __future__ import annotations

from collections import Counter

import harvester


def settings_in_code() -> harvester.Settings:
    """Settings with lists, and with sections as their own types or as plain dicts."""
    return harvester.Settings(
        accounts=harvester.AccountSettings(
            include=["111122223333"], exclude=["444455556666"], role_name="Harvester"
        ),
        regions=harvester.RegionSettings(include=["eu-west-1", "us-east-1"]),
        findings=harvester.FindingSettings(
            filters={"severity": ["HIGH", "CRITICAL"]}, pipelines=["golden-*"], split="auto"
        ),
        limits=harvester.LimitSettings(max_concurrency=8, max_rate=2.5, deadline="30m"),
        output=harvester.OutputSettings(path="findings/", compression="zstd"),
        log=harvester.LogSettings(level="warning", format="json"),
        aws={"profile": "audit"},
    )


def sections_as_dicts() -> harvester.Settings:
    """The same keys as in the config file."""
    return harvester.Settings(
        accounts={"organization": True, "role_name": "Harvester"},
        regions={"include": ["all"]},
        findings={"filters": {"severity": ["HIGH"]}},
    )


def advice(finding: harvester.Finding) -> str | None:
    """Read nested keys, none of which the service promises."""
    recommendation = finding.get("remediation", {}).get("recommendation", {})
    return recommendation.get("text")


def packages(finding: harvester.Finding) -> list[str]:
    """Read a list of nested objects."""
    details = finding.get("packageVulnerabilityDetails", {})
    return [package.get("name", "?") for package in details.get("vulnerablePackages", [])]


def score(finding: harvester.Finding) -> float:
    """Read numbers: the adjusted score, or the one of the vendor."""
    adjusted = finding.get("inspectorScoreDetails", {}).get("adjustedCvss", {}).get("score")
    return finding.get("inspectorScore", 0.0) if adjusted is None else adjusted


async def count(settings: harvester.Settings) -> Counter[str]:
    """Iterate over findings."""
    counts: Counter[str] = Counter()
    try:
        async with harvester.open_sweep(settings) as sweep:
            async for finding in sweep:
                if "severity" in finding:
                    counts[finding["severity"]] += 1
    except harvester.HarvesterError as error:
        print(error, error.hint)
    return counts


async def report() -> str:
    """Write to the output of a config file, and read the summary."""
    settings = harvester.load_settings("harvester.toml", {"limits.max_rate": 3.0})
    summary: harvester.Summary = await harvester.run_sweep(settings)
    targets: harvester.TargetCounts = summary.targets
    problems: tuple[harvester.Problem, ...] = summary.problems
    names: tuple[str, ...] = settings.regions.include
    lines = [f"{one.account}/{one.region}: {one.code}: {one.message}" for one in problems]
    return "\n".join([*lines, f"{targets.complete} of {targets.total}", *names])
