"""Values that cannot match for their spelling alone are refused, with the value that was meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harvester.errors import SettingsError
from harvester.settings import Settings, check_settings, load_settings

ONE, TWO = "111122223333", "444455556666"
PIPELINE = f"arn:aws:imagebuilder:us-east-1:{ONE}:image-pipeline/golden"
OTHER = f"arn:aws:imagebuilder:eu-west-1:{TWO}:image-pipeline/silver"
IMAGE = f"arn:aws:imagebuilder:us-east-1:{ONE}:image/golden/1.0.0/1"


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def from_option(key: str, option: str, value: object) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(overrides={key: value}, origins={key: option})
    assert str(caught.value).isprintable()
    return str(caught.value)


FILTERS: list[tuple[str, list[str], str]] = [
    ("severity", ["high"], "did you mean HIGH?"),
    ("severity", [" HIGH"], "did you mean HIGH?"),
    ("severity", ["High"], "did you mean HIGH?"),
    ("severity", ["HIGH "], "did you mean HIGH?"),
    ("severity", ['"HIGH"'], "did you mean HIGH?"),
    ("severity", ["HIGH,"], "did you mean HIGH?"),
    ("severity", ["=HIGH"], "did you mean HIGH?"),
    ("severity", ["[high]"], "did you mean HIGH?"),
    (
        "severity",
        ["HIGH critical"],
        "did you mean --filter severity=HIGH --filter severity=CRITICAL?",
    ),
    ("severity", ["CRITICAL", "untriaged"], "did you mean UNTRIAGED?"),
    (
        "severity",
        ["HIGH,CRITICAL"],
        "did you mean --filter severity=HIGH --filter severity=CRITICAL?",
    ),
    (
        "severity",
        ["high, critical"],
        "did you mean --filter severity=HIGH --filter severity=CRITICAL?",
    ),
    (
        "severity",
        ["HIGH|WORST"],
        "did you mean --filter severity=HIGH --filter severity=WORST?",
    ),
    ("vulnerabilityId", ["cve-2026-1"], "did you mean CVE-2026-1?"),
    ("vulnerabilityId", ["CVE-2026-1 "], "did you mean CVE-2026-1?"),
    ("vulnerabilityId", ["CVE_2026_12345"], "did you mean CVE-2026-12345?"),
    ("vulnerabilityId", ["ghsa-ABCD-12ef-34gh"], "did you mean GHSA-abcd-12ef-34gh?"),
    (
        "vulnerabilityId",
        ["cve-2026-1, CVE-2026-2"],
        "did you mean --filter vulnerabilityId=CVE-2026-1 --filter vulnerabilityId=CVE-2026-2?",
    ),
    (
        "imagePipelineArn",
        [f"{PIPELINE},{OTHER}"],
        f"did you mean --filter imagePipelineArn={PIPELINE} --filter imagePipelineArn={OTHER}?",
    ),
    (
        "imagePipelineArn",
        [f"{PIPELINE}{OTHER}"],
        f"did you mean --filter imagePipelineArn={PIPELINE} --filter imagePipelineArn={OTHER}?",
    ),
    ("imagePipelineArn", [PIPELINE.replace("golden", "Golden")], f"did you mean {PIPELINE}?"),
    ("imageBuildVersionArn", [f"{IMAGE},"], f"did you mean {IMAGE}?"),
    ("imageBuildVersionArn", [IMAGE.removesuffix("/1")], "build version"),
]


@pytest.mark.parametrize(("name", "values", "said"), FILTERS)
def test_a_filter_value_that_only_misses_by_spelling_is_refused(
    name: str, values: list[str], said: str
) -> None:
    message = from_option("findings.filters", "--filter", {name: values})
    assert message.startswith(f"--filter {name}: ")
    assert said in message


@pytest.mark.parametrize(("name", "values", "said"), FILTERS)
def test_the_same_filter_value_is_refused_in_code(name: str, values: list[str], said: str) -> None:
    with pytest.raises(SettingsError, match=rf"^findings\.filters\.{name}: ") as caught:
        Settings(findings={"filters": {name: values}})
    assert ("did you mean" in str(caught.value)) == ("did you mean" in said)


def test_the_same_filter_value_is_refused_in_a_file_with_a_list_to_copy() -> None:
    Path("harvester.toml").write_text('[findings.filters]\nseverity = ["high, critical"]\n')
    with pytest.raises(SettingsError) as caught:
        load_settings()
    message = str(caught.value)
    assert message.startswith("harvester.toml:2: findings.filters.severity: 'high, critical' is")
    assert message.endswith('did you mean ["HIGH", "CRITICAL"]?')


@pytest.mark.parametrize(("text", "meant"), [("HIGH", "HIGH"), ("high,LOW", 'HIGH", "LOW')])
def test_text_in_place_of_a_list_is_answered_with_the_list(text: str, meant: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings(findings={"filters": {"severity": text}})
    assert str(caught.value).endswith(f'did you mean ["{meant}"]?')


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("severity", "WORST"),
        ("severity", "highest"),
        ("severity", "VERY HIGH"),
        ("vulnerabilityId", "CVE-2021-44228"),
        ("vulnerabilityId", "ALAS2-2024-2500"),
        ("vulnerabilityId", "GHSA-abcd-12ef-34gh"),
        ("imagePipelineArn", PIPELINE),
        ("imageBuildVersionArn", IMAGE),
    ],
)
def test_values_that_may_match_are_accepted(name: str, value: str) -> None:
    settings = load_settings(overrides={"findings.filters": {name: [value]}})
    assert settings.findings.filters == {name: (value,)}
    assert check_settings(settings) == settings


@pytest.mark.parametrize(
    ("key", "option", "value", "said"),
    [
        (
            "accounts.include",
            "--account",
            [f"{ONE},{TWO}"],
            f"did you mean --account {ONE} --account {TWO}?",
        ),
        (
            "accounts.include",
            "--account",
            [f"{ONE} {TWO}"],
            f"did you mean --account {ONE} --account {TWO}?",
        ),
        ("accounts.exclude", "--exclude-account", ["1111-2222-3333"], f"did you mean {ONE}?"),
        ("accounts.include", "--account", ["1111 2222 3333"], f"did you mean {ONE}?"),
        (
            "accounts.organizational_units",
            "--ou",
            ["OU-AB12-CDEFGH34"],
            "did you mean ou-ab12-cdefgh34?",
        ),
        ("accounts.role_name", "--role-name", "/security/Harvester", "mean security/Harvester?"),
        (
            "accounts.role_name",
            "--role-name",
            f"arn:aws:iam::{ONE}:role/security/H",
            "did you mean security/H?",
        ),
        ("regions.include", "--region", ["EU-WEST-1"], "did you mean eu-west-1?"),
        ("regions.include", "--region", ["eu_west_1"], "did you mean eu-west-1?"),
        ("regions.include", "--region", ["us-east-1a"], "did you mean us-east-1?"),
        ("regions.include", "--region", ["ALL"], "did you mean all?"),
        (
            "regions.include",
            "--region",
            ["eu-west-1,us-east-1"],
            "did you mean --region eu-west-1 --region us-east-1?",
        ),
        ("regions.exclude", "--exclude-region", [" eu-west-1"], "did you mean eu-west-1?"),
        (
            "findings.pipelines",
            "--pipeline",
            ["golden-*, silver"],
            "did you mean --pipeline 'golden-*' --pipeline silver?",
        ),
        ("findings.pipelines", "--pipeline", ["golden-{a,b}"], "no name holds a comma or a brace"),
        ("findings.pipelines", "--pipeline", [" golden"], "did you mean golden?"),
        (
            "findings.pipelines",
            "--pipeline",
            ["golden-[ab],silver"],
            "did you mean --pipeline 'golden-[ab]' --pipeline silver?",
        ),
        ("findings.split", "--split", "Severity", "did you mean severity?"),
        ("log.format", "--log-format", "JSON", "did you mean json?"),
        ("log.level", "log.level", "WARN", "did you mean warning?"),
        ("output.compression", "output.compression", "Zstd", "did you mean zstd?"),
        ("limits.deadline", "--deadline", "2H", "did you mean 2h?"),
    ],
)
def test_other_values_that_only_miss_by_spelling_are_refused(
    key: str, option: str, value: object, said: str
) -> None:
    message = from_option(key, option, value)
    assert message.startswith(f"{option}: ")
    assert said in message


@pytest.mark.parametrize("glob", ["golden-*", "gold[,n]*", "a b", "arn:*:image-pipeline/x"])
def test_globs_that_may_match_are_accepted(glob: str) -> None:
    assert load_settings(overrides={"findings.pipelines": [glob]}).findings.pipelines == (glob,)


@pytest.mark.parametrize("name", ["Severity", "SEVERITY", "IMAGEPIPELINEARN", "vulnerability_id"])
def test_a_filter_name_in_another_spelling_is_refused(name: str) -> None:
    message = from_option("findings.filters", "--filter", {name: ["x"]})
    assert f"--filter {name}: unknown filter; did you mean " in message


def test_secrets_are_not_repeated_in_a_suggestion() -> None:
    message = from_option("accounts.external_id", "--external-id", "hunter2 hunter2")
    assert "hunter2" not in message


# ARNs outside of the selection


def outside(overrides: dict[str, Any]) -> str | None:
    try:
        load_settings(overrides=overrides)
    except SettingsError as error:
        return str(error)
    return None


FILTER = "findings.filters"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            {FILTER: {"imagePipelineArn": [PIPELINE]}, "regions.include": ["eu-west-1"]},
            "region us-east-1 is not selected by regions.include",
        ),
        (
            {FILTER: {"imagePipelineArn": [PIPELINE]}, "regions.exclude": ["us-east-1"]},
            "region us-east-1 is not selected by regions.exclude",
        ),
        (
            {FILTER: {"imageBuildVersionArn": [IMAGE]}, "accounts.include": [TWO]},
            f"account {ONE} is not selected by accounts.include",
        ),
        (
            {
                FILTER: {"imageBuildVersionArn": [IMAGE]},
                "accounts.organization": True,
                "accounts.role_name": "R",
                "accounts.exclude": [ONE],
            },
            f"account {ONE} is not selected by accounts.exclude",
        ),
        (
            {"findings.pipelines": [PIPELINE], "regions.include": ["eu-west-1"]},
            "findings.pipelines: ",
        ),
        (
            {FILTER: {"imagePipelineArn": [OTHER], "imageBuildVersionArn": [IMAGE]}},
            "other filters name other accounts or regions",
        ),
        (
            {FILTER: {"imagePipelineArn": [PIPELINE, OTHER]}, "regions.include": ["ap-south-1"]},
            "can match nothing",
        ),
    ],
)
def test_arns_that_all_lie_outside_of_the_selection_are_refused(
    overrides: dict[str, Any], said: str
) -> None:
    assert said in (outside(overrides) or "accepted")


@pytest.mark.parametrize(
    "overrides",
    [
        {FILTER: {"imagePipelineArn": [PIPELINE]}},
        {FILTER: {"imagePipelineArn": [PIPELINE]}, "regions.include": ["all"]},
        {FILTER: {"imagePipelineArn": [PIPELINE, OTHER]}, "regions.include": ["eu-west-1"]},
        {
            FILTER: {"imagePipelineArn": [PIPELINE]},
            "accounts.include": [TWO],
            "accounts.organizational_units": ["r-ab12"],
            "accounts.role_name": "R",
        },
        {"findings.pipelines": [PIPELINE, "golden-*"], "regions.include": ["eu-west-1"]},
        {"findings.pipelines": ["arn:aws:imagebuilder:*:*:x"], "regions.include": ["eu-west-1"]},
        {FILTER: {"imagePipelineArn": [PIPELINE], "imageBuildVersionArn": [IMAGE]}},
    ],
)
def test_arns_that_may_lie_in_the_selection_are_accepted(overrides: dict[str, Any]) -> None:
    assert outside(overrides) is None
