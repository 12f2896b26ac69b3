"""config.example.toml: it loads, and it has every key there is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from harvester.settings import FILTER_NAMES, Settings, load_settings

EXAMPLE = Path(__file__).parent.parent / "config.example.toml"
ONE = "111122223333"


def _sections() -> dict[str, type[msgspec.Struct]]:
    return {field.name: field.type for field in msgspec.structs.fields(Settings)}


def _example_keys() -> list[tuple[str, str, str, str]]:
    """Section, key, value and the comment above, for each key set or commented out."""
    found, section, comment = [], "", ""
    for line in EXAMPLE.read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"\[([a-z.]+)\]", line):
            section = match[1]
            parent, _, key = section.rpartition(".")
            if parent:
                found.append((parent, key, "", comment))
        elif match := re.fullmatch(r"(?:# )?(\w+) = (.+)", line):
            found.append((section, match[1], match[2], comment))
        comment = f"{comment} {line[2:]}" if line.startswith("#") else ""
    return found


def test_the_example_loads_as_it_is() -> None:
    settings = load_settings(EXAMPLE)
    assert settings.accounts.organization
    assert settings.findings.filters == {"severity": ("CRITICAL", "HIGH")}
    assert load_settings(EXAMPLE, {"accounts.include": [ONE]}).accounts.include == (ONE,)


def test_the_example_has_every_key_with_its_default() -> None:
    comments = {(section, key): comment for section, key, _, comment in _example_keys()}
    expected = {
        (section, field.name)
        for section, kind in _sections().items()
        for field in msgspec.structs.fields(kind)
    }
    filters = {("findings.filters", name) for name in FILTER_NAMES}
    assert set(comments) == expected | filters
    for section, key in expected:
        default = getattr(getattr(Settings(), section), key)
        wanted = "not set" if default is None else msgspec.json.encode(default).decode()
        assert f"Default: {wanted}" in comments[section, key], (section, key)


@pytest.mark.parametrize("line", re.findall(r"^# (\w+ = .+)$", EXAMPLE.read_text(), re.MULTILINE))
def test_each_line_commented_out_in_the_example_is_valid(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = EXAMPLE.read_text(encoding="utf-8").replace(f"# {line}", line)
    Path("one.toml").write_text(text, encoding="utf-8")
    settings = load_settings("one.toml")
    key, value = next(iter(tomllib.loads(line).items()))
    values = msgspec.to_builtins(settings)
    expected = tuple(value) if isinstance(value, list) else value
    assert expected in [part.get(key, part.get("filters", {}).get(key)) for part in values.values()]
