"""What is there by name: the package's exports, and the simulator's options."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import harvester
from harvester import errors
from harvester.rehearsal_options import KNOBS
from harvester.simulator import Behaviour, Faults, OrganizationSpec

_DESIGN = (
    *("FindingsPaginator", "Settings", "load_settings", "open_sweep", "run_sweep"),
    *("HarvesterError", "SettingsError", "StartError", "OutputError"),
)


@pytest.mark.parametrize("name", sorted({*harvester.__all__, *_DESIGN}))
def test_exports_are_there_and_documented(name: str) -> None:
    assert name in harvester.__all__
    value = getattr(harvester, name)
    if name == "__version__":
        assert value.count(".") == 2
        return
    assert inspect.getdoc(value)
    members = inspect.getmembers(value, inspect.isfunction) if inspect.isclass(value) else []
    for member, function in members:
        if not member.startswith("_") and function.__module__.startswith("harvester"):
            assert inspect.getdoc(function), f"{name}.{member}"


def test_a_star_import_and_dir_agree() -> None:
    found: dict[str, object] = {}
    exec("from harvester import *", found)  # noqa: S102

    assert {*harvester.__all__} <= {*found}
    assert {*harvester.__all__} <= {*dir(harvester)}
    assert sorted(harvester.__all__) == harvester.__all__


def test_other_names_are_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = harvester.nothing
    assert not hasattr(harvester, "Pager")


def test_every_module_can_be_imported_by_itself_and_says_what_it_is() -> None:
    modules = [
        module.name
        for module in pkgutil.walk_packages(harvester.__path__, "harvester.")
        if not module.name.endswith("__main__")
    ]
    assert len(modules) > 30
    for module in modules:
        assert importlib.import_module(module).__doc__, module


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = [
        "botocore",
        "aiobotocore",
        "aiohttp",
        "rich",
        "anyio",
        "msgspec",
        "orjson",
        "tenacity",
        "zstandard",
    ]
    code = f"import sys, harvester; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)

    assert found.stdout.strip() == "[]"


def test_errors_are_one_tree_with_the_exit_codes_of_the_contract() -> None:
    found = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    kinds = [kind for kind in found if issubclass(kind, errors.HarvesterError)]

    assert kinds == found
    assert all(kind.__doc__ for kind in kinds)
    codes = {kind.__name__: kind.exit_code for kind in kinds}
    assert codes["SettingsError"] == 2
    assert codes["StartError"] == 4
    assert codes["OutputError"] == codes["OutputBusyError"] == 5
    assert codes["OutputClosedError"] == 141


_FOR_CODE = {"credentials_resolver", "rates"}


@pytest.mark.parametrize(
    ("part", "kind", "without"),
    [
        ("spec", OrganizationSpec, set()),
        ("behaviour", Behaviour, _FOR_CODE),
        ("faults", Faults, {*Faults.transient()}),
    ],
)
def test_every_field_of_the_simulator_has_an_option(
    part: str, kind: type, without: set[str]
) -> None:
    offered = [knob.field for knob in KNOBS if knob.part == part]
    fields = {field.name for field in dataclasses.fields(kind)}

    assert len(offered) == len({*offered})
    assert {*offered} == fields - without


def test_options_of_the_simulator_are_told_apart() -> None:
    assert len({knob.flag for knob in KNOBS}) == len(KNOBS)
    assert len({knob.parameter for knob in KNOBS}) == len(KNOBS)
    assert all(knob.help.endswith(".") for knob in KNOBS)
