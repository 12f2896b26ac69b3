"""Whatever the settings are given, the answer is settings or one printable line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from harvester.errors import SettingsError
from harvester.settings import FILTER_NAMES, Settings, check_settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

ONE = "111122223333"
SECRET = "hunter2-hunter2"
SECTIONS: dict[str, type[msgspec.Struct]] = {
    field.name: field.type for field in msgspec.structs.fields(Settings)
}


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


KEYS = sorted({field.name for kind in SECTIONS.values() for field in msgspec.structs.fields(kind)})
TEXTS = st.text(st.characters(), max_size=8) | st.sampled_from(
    [ONE, "us-east-1", "all", "-", "out/", "a.ndjson", "2h", "zstd", "http://h", "R", "severity"]
)
SCALARS = TEXTS | st.integers() | st.floats() | st.booleans() | st.none() | st.dates() | st.times()
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXTS | st.sampled_from([*KEYS, *FILTER_NAMES]), inner, max_size=3)
    ),
    max_leaves=6,
)
SECTION_VALUES = st.dictionaries(st.sampled_from(KEYS) | TEXTS, VALUES, max_size=4)
TREES = st.dictionaries(
    st.sampled_from(sorted(SECTIONS)) | TEXTS, SECTION_VALUES | VALUES, max_size=4
)
FUZZ = hypothesis_settings(
    deadline=None,
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def _or_line(make: Callable[[], Settings]) -> Settings | str:
    """The settings, checked to stay the same, or the line that refuses them."""
    try:
        settings = make()
    except SettingsError as error:
        return str(error)
    assert check_settings(settings) == settings
    return settings


def _dotted(tree: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{section}.{key}": value
        for section, content in tree.items()
        for key, value in (content.items() if isinstance(content, dict) else [("x", content)])
    }


def _check(tree: dict[str, Any]) -> None:
    known = {name: content for name, content in tree.items() if name in SECTIONS}
    for result in (
        _or_line(lambda: load_settings(overrides=_dotted(tree))),
        _or_line(lambda: check_settings(Settings(**known))),
    ):
        assert isinstance(result, Settings) or result.isprintable()


@FUZZ
@given(TREES)
def test_any_tree_is_settings_or_one_line(tree: dict[str, Any]) -> None:
    _check(tree)


@FUZZ
@given(st.data())
def test_any_value_of_a_known_key_is_settings_or_one_line(data: st.DataObject) -> None:
    section, kind = data.draw(st.sampled_from(sorted(SECTIONS.items())))
    field = data.draw(st.sampled_from(msgspec.structs.fields(kind)))
    _check({section: {field.name: data.draw(VALUES)}})


@FUZZ
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_file_is_settings_or_one_line(data: bytes) -> None:
    Path("fuzz.toml").write_bytes(data)
    result = _or_line(lambda: load_settings("fuzz.toml"))
    assert isinstance(result, Settings) or result.isprintable()


@FUZZ
@given(
    path=st.lists(st.sampled_from(["aws", "accounts", "findings", "filters", "x"]), max_size=4),
    key=st.sampled_from(
        ["access_key", "aws-secret", "API_KEY", "token", "db_password", "external_id"]
    ),
    listed=st.booleans(),
)
def test_secrets_are_never_repeated_wherever_they_stand(
    path: list[str], key: str, *, listed: bool
) -> None:
    value: Any = [f"{SECRET} "] if listed else f"{SECRET} "
    tree: dict[str, Any] = {key: value}
    for name in reversed(path):
        tree = {name: [tree] if listed else tree}
    result = _or_line(lambda: load_settings(overrides=_dotted({"aws": tree})))
    assert isinstance(result, str)
    assert SECRET not in result
