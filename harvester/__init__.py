"""Harvests EC2 Image Builder's image scan findings from a whole AWS organization.

Three ways in: the command `harvester sweep`, `run_sweep` which does the same from code, and
`open_sweep`, whose findings are iterated over. `FindingsPaginator` reads one account and
region with a client of your own, as the SDK's paginator does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harvester._version import __version__

if TYPE_CHECKING:
    from harvester import events
    from harvester.errors import (
        HarvesterError,
        IncompleteError,
        OutputBusyError,
        OutputClosedError,
        OutputError,
        ServiceError,
        SettingsError,
        StartError,
        UsageError,
    )
    from harvester.finding import (
        Finding,
    )
    from harvester.paginator import (
        FindingsPaginator,
    )
    from harvester.run import (
        Sweep,
        open_sweep,
        run_sweep,
    )
    from harvester.settings import (
        AccountSettings,
        AwsSettings,
        FindingSettings,
        LimitSettings,
        LogSettings,
        OutputSettings,
        RegionSettings,
        Settings,
        load_settings,
    )
    from harvester.summary import (
        Problem,
        Skipped,
        Summary,
        SweepWarning,
        TargetCounts,
    )

__all__ = [
    "AccountSettings",
    "AwsSettings",
    "Finding",
    "FindingSettings",
    "FindingsPaginator",
    "HarvesterError",
    "IncompleteError",
    "LimitSettings",
    "LogSettings",
    "OutputBusyError",
    "OutputClosedError",
    "OutputError",
    "OutputSettings",
    "Problem",
    "RegionSettings",
    "ServiceError",
    "Settings",
    "SettingsError",
    "Skipped",
    "StartError",
    "Summary",
    "Sweep",
    "SweepWarning",
    "TargetCounts",
    "UsageError",
    "__version__",
    "events",
    "load_settings",
    "open_sweep",
    "run_sweep",
]

# The SDK takes a third of a second to import: names are looked up when they are first used,
# so that `harvester --help` need not wait for it.
_ROOMS = {
    "errors": (
        "HarvesterError",
        "IncompleteError",
        "OutputBusyError",
        "OutputClosedError",
        "OutputError",
        "ServiceError",
        "SettingsError",
        "StartError",
        "UsageError",
    ),
    "finding": ("Finding",),
    "paginator": ("FindingsPaginator",),
    "run": ("Sweep", "open_sweep", "run_sweep"),
    "settings": (
        "AccountSettings",
        "AwsSettings",
        "FindingSettings",
        "LimitSettings",
        "LogSettings",
        "OutputSettings",
        "RegionSettings",
        "Settings",
        "load_settings",
    ),
    "summary": ("Problem", "Skipped", "Summary", "SweepWarning", "TargetCounts"),
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME and name != "events":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if name == "events":
        return import_module(f"{__name__}.events")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
