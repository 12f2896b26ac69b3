"""Names and types that a user of the library finds, and works with."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

import botocore.session
import msgspec
import pytest

import harvester
from harvester.settings import sections

SECTIONS = {field.name: field.type for field in msgspec.structs.fields(harvester.Settings)}


def test_each_public_name_exists_and_is_listed() -> None:
    assert set(harvester.__all__) <= set(dir(harvester))
    for name in harvester.__all__:
        assert getattr(harvester, name) is not None
    unwanted = {name for name in dir(harvester) if name not in harvester.__all__}
    assert all(name.startswith("__") for name in unwanted), "nothing else is offered"


def test_the_types_of_settings_and_summary_are_public() -> None:
    assert {kind.__name__ for kind in SECTIONS.values()} <= set(harvester.__all__)
    hints = get_type_hints(harvester.Summary)
    named = {hints["targets"], *(get_args(hints[name])[0] for name in ("problems", "warnings"))}
    assert {kind.__name__ for kind in named} <= set(harvester.__all__)


def test_the_names_are_there_without_importing_the_sdk() -> None:
    code = (
        "import harvester, sys; dir(harvester); harvester.Finding; harvester.RegionSettings;"
        "harvester.load_settings; print('aiobotocore' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.strip() == b"False"


def _model(name: str) -> Any:
    loader = botocore.session.Session().get_component("data_loader")
    return loader.load_service_model("imagebuilder", "service-2")["shapes"][name]


_SCALARS: dict[str, type] = {
    "string": str,
    "timestamp": str,  # ISO 8601 in a line
    "double": float,
    "integer": int,
}


def _assert_same_shape(kind: Any, shape: str) -> None:
    model = _model(shape)
    if model["type"] == "structure":
        assert is_typeddict(kind)
        assert kind.__name__ in (shape, "Finding")
        assert kind.__required_keys__ == frozenset(), "the service promises no key"
        hints = get_type_hints(kind)
        assert set(hints) == set(model["members"])
        for name, member in model["members"].items():
            _assert_same_shape(hints[name], member["shape"])
    elif model["type"] == "list":
        assert get_origin(kind) is list
        _assert_same_shape(get_args(kind)[0], model["member"]["shape"])
    else:
        assert kind is _SCALARS[model["type"]]


def test_the_type_of_a_finding_is_the_shape_of_the_service_model() -> None:
    _assert_same_shape(harvester.Finding, "ImageScanFinding")


def test_lists_become_tuples_at_once() -> None:
    regions = harvester.RegionSettings(include=["eu-west-1"], exclude=["us-east-1"])
    assert (regions.include, regions.exclude) == (("eu-west-1",), ("us-east-1",))
    accounts = harvester.AccountSettings(include=["111122223333"], role_name="R")
    assert accounts.include == ("111122223333",)
    findings = harvester.FindingSettings(filters={"severity": ["HIGH"]}, pipelines=["a"])
    assert (findings.filters, findings.pipelines) == ({"severity": ("HIGH",)}, ("a",))
    assert harvester.Settings(regions=regions) == harvester.Settings(
        regions={"include": ["eu-west-1"], "exclude": ["us-east-1"]}
    )


@pytest.mark.parametrize("module", [sections, sys.modules["harvester.settings"]])
def test_constructors_declared_for_type_checkers_name_every_field(module: Any) -> None:
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    declared = {
        kind.name: [argument.arg for argument in function.args.kwonlyargs]
        for kind in tree.body
        if isinstance(kind, ast.ClassDef)
        for function in ast.walk(kind)
        if isinstance(function, ast.FunctionDef) and function.name == "__init__"
    }
    assert declared
    for name, arguments in declared.items():
        assert arguments == list(getattr(module, name).__struct_fields__)
