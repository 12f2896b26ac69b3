"""A program with three mistakes that a type checker has to find: checked, never run."""

from __future__ import annotations

import harvester


async def titles(settings: harvester.Settings) -> None:
    """Read a key that no finding has."""
    async with harvester.open_sweep(settings) as sweep:
        async for finding in sweep:
            print(finding["tilte"])


def nested(finding: harvester.Finding) -> object:
    """Read a nested key that does not exist."""
    if "remediation" in finding:
        return finding["remediation"]["recomendation"]
    return None


def text_for_a_list() -> harvester.RegionSettings:
    """Give one text where a list belongs."""
    return harvester.RegionSettings(include="eu-west-1")
