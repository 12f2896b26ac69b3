from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from harvester.errors import SettingsError
from harvester.settings import (
    FILTER_NAMES,
    AccountSettings,
    FindingSettings,
    LimitSettings,
    OutputSettings,
    RegionSettings,
    Settings,
    check_settings,
    load_settings,
    parse_duration,
    unusual_severities,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

ONE, TWO = "111122223333", "000000000042"
IMAGE = f"arn:aws:imagebuilder:us-east-1:{ONE}:image/golden/1.0.0/1"
PIPELINE = f"arn:aws-us-gov:imagebuilder:us-gov-west-1:{ONE}:image-pipeline/golden"
SECRET = "hunter2-hunter2"


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(text: str) -> Settings:
    Path("harvester.toml").write_text(text, encoding="utf-8")
    return load_settings()


def refused(
    text: str = "",
    overrides: Mapping[str, Any] | None = None,
    origins: Mapping[str, str] | None = None,
) -> str:
    Path("harvester.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_settings(overrides=overrides, origins=origins)
    message = str(caught.value)
    assert message.isprintable()
    assert caught.value.exit_code == 2
    return message


# What is accepted


def test_without_a_file_all_are_defaults() -> None:
    assert load_settings() == Settings()
    assert check_settings(Settings()) == Settings()
    assert load_settings(overrides={}, origins={}) == Settings()


@pytest.mark.parametrize(
    ("text", "section", "key", "expected"),
    [
        (f'[accounts]\ninclude = ["{ONE}", "{TWO}", "{ONE}"]', "accounts", "include", (ONE, TWO)),
        ("[accounts]\ninclude = []", "accounts", "include", ()),
        ('[accounts]\nrole_name = "a/b/C"', "accounts", "role_name", "a/b/C"),
        ('[accounts]\nexternal_id = "a:/b"', "accounts", "external_id", "a:/b"),
        (
            '[accounts]\norganizational_units = ["r-ab12", "ou-ab12-cdefgh34"]\nrole_name="R"',
            "accounts",
            "organizational_units",
            ("r-ab12", "ou-ab12-cdefgh34"),
        ),
        ('[regions]\ninclude = ["all"]', "regions", "include", ("all",)),
        (
            '[regions]\ninclude = ["us-gov-west-1", "us-iso-east-1", "eusc-de-east-1"]',
            "regions",
            "include",
            ("us-gov-west-1", "us-iso-east-1", "eusc-de-east-1"),
        ),
        ('[regions]\nexclude = ["mx-central-1"]', "regions", "exclude", ("mx-central-1",)),
        ("[findings]\npage_size = 100", "findings", "page_size", 100),
        ('[findings]\npipelines = ["a-*"]', "findings", "pipelines", ("a-*",)),
        (
            f'[findings.filters]\nimagePipelineArn = ["{PIPELINE}"]\nseverity = []',
            "findings",
            "filters",
            {"imagePipelineArn": (PIPELINE,)},
        ),
        (
            f'[findings.filters]\nimageBuildVersionArn = ["{IMAGE}"]\nseverity = ["x", "x"]',
            "findings",
            "filters",
            {"imageBuildVersionArn": (IMAGE,), "severity": ("x",)},
        ),
        ("[limits]\nmax_rate = 3", "limits", "max_rate", 3.0),
        ('[limits]\ndeadline = "1h30m"', "limits", "deadline_seconds", 5400.0),
        ('[output]\npath = "a.ndjson.zst"', "output", "file_compression", "zstd"),
        ('[output]\npath = "a/"\ncompression = "zstd"', "output", "file_compression", "zstd"),
        ('[log]\nlevel = "trace"', "log", "level", "trace"),
        ('[aws]\nendpoint_url = "http://[::1]:80"', "aws", "endpoint_url", "http://[::1]:80"),
        ('\ufeff[aws]\r\nprofile = "audit"\r\n', "aws", "profile", "audit"),
    ],
)
def test_accepted(text: str, section: str, key: str, expected: object) -> None:
    settings = load(text)
    assert getattr(getattr(settings, section), key) == expected
    assert check_settings(settings) == settings


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1h1m1s", 3661), ("0.5s", 0.5)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "90", "0s", "-1s", "30m1h", "1d", "1h 30m", "\u0663s", "1s\n"]
)
def test_no_durations(text: str) -> None:
    with pytest.raises(SettingsError, match="30m"):
        parse_duration(text)
    assert "limits.deadline: " in refused(overrides={"limits.deadline": text})


def test_kinds_of_output() -> None:
    Path("there.ndjson").mkdir()
    kinds = {
        "-": ("stdout", "none"),
        "a.ndjson": ("file", "none"),
        "a.ndjson.gz": ("file", "gzip"),
        "a/": ("folder", "none"),
        "there.ndjson": ("folder", "none"),
    }
    found = {path: OutputSettings(path=path) for path in kinds}
    assert {p: (o.kind, o.file_compression) for p, o in found.items()} == kinds
    assert LimitSettings().deadline_seconds is None


def test_a_name_too_long_for_the_file_system_is_still_only_a_name() -> None:
    name = f"{'x' * 300}.ndjson"
    output = OutputSettings(path=name, summary=f"{'x' * 300}.json")
    assert check_settings(Settings(output=output)).output.kind == "file"


def test_an_override_replaces_the_key_even_where_the_file_is_wrong() -> None:
    Path("harvester.toml").write_text('[limits]\nmax_rate = "fast"\nmax_concurrency = 5')
    settings = load_settings(overrides={"limits.max_rate": 3.0, "log.format": "json"})
    assert settings.limits == LimitSettings(max_rate=3.0, max_concurrency=5)
    assert settings.log.format == "json"


def test_filters_are_replaced_as_a_whole() -> None:
    Path("harvester.toml").write_text('[findings.filters]\nseverity = ["LOW"]')
    settings = load_settings(overrides={"findings.filters": {"vulnerabilityId": ["CVE-1"]}})
    assert settings.findings.filters == {"vulnerabilityId": ("CVE-1",)}


@pytest.mark.parametrize(
    "chosen", [{"include": [TWO]}, {"organizational_units": ["r-ab12"]}, {"organization": True}]
)
def test_a_choice_of_accounts_replaces_that_of_the_file_as_a_whole(chosen: dict[str, Any]) -> None:
    Path("harvester.toml").write_text(
        f'[accounts]\ninclude = ["{ONE}"]\norganizational_units = ["r-ff00"]\nrole_name = "R"\n'
        f'exclude = ["{ONE}"]'
    )
    settings = load_settings(overrides={f"accounts.{key}": v for key, v in chosen.items()})
    expected = msgspec.convert({"role_name": "R", "exclude": [ONE], **chosen}, AccountSettings)
    assert settings.accounts == expected


def test_sections_may_be_mappings() -> None:
    settings = Settings(accounts={"include": [ONE]}, findings={"filters": {"severity": ["LOW"]}})
    assert settings.accounts == AccountSettings(include=(ONE,))
    assert settings.findings == FindingSettings(filters={"severity": ("LOW",)})
    assert check_settings(settings) == settings


def test_lists_become_tuples_and_paths_text() -> None:
    made = Settings(
        regions=RegionSettings(include=["us-east-1"]),
        output=OutputSettings(path=Path("a.ndjson")),  # type: ignore[arg-type]
    )
    settings = check_settings(made)
    assert settings.regions.include == ("us-east-1",)
    assert settings.output.path == "a.ndjson"


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Settings().limits = LimitSettings()  # type: ignore[misc]
    with pytest.raises(AttributeError):
        Settings().limits.max_concurrency = 3  # type: ignore[misc]


def test_unusual_severities() -> None:
    filters: dict[str, tuple[str, ...]] = {"severity": ("HIGH", "UNTRIAGED", "WORST")}
    assert unusual_severities(Settings(findings=FindingSettings(filters=filters))) == ("WORST",)
    assert unusual_severities(Settings()) == ()


# What is refused: the key, the value where it may be shown, and what is allowed

BAD_VALUES: list[tuple[str, Any, str, str]] = [
    ("accounts.include", ["123"], "'123'", "an account id: 12 digits"),
    ("accounts.include", "1234", "'1234'", "a list in brackets"),
    ("accounts.include", [111122223333], "111122223333", "text in quotes, since leading zeros"),
    ("accounts.include", 111122223333, "111122223333", "text in quotes"),
    ("accounts.include", ["\u0661" * 12], f"'{chr(0x661) * 12}'", "12 digits"),
    ("accounts.include", [ONE + "\n"], r"'111122223333\n'", "12 digits"),
    ("accounts.include", [""], "''", "12 digits"),
    ("accounts.include", [[ONE]], f"['{ONE}']", "12 digits"),
    ("accounts.exclude", {"a": 1}, "a table", "12 digits"),
    ("accounts.organization", "yes", "'yes'", "true or false"),
    ("accounts.organization", 1, "1", "true or false"),
    ("accounts.organizational_units", ["ab12"], "'ab12'", "ou-ab12-cdefgh34"),
    ("accounts.role_name", "/a/B", "'/a/B'", "no leading slash"),
    ("accounts.role_name", f"arn:aws:iam::{ONE}:role/R", "'arn:aws", "no ARN"),
    ("accounts.role_name", "a/", "'a/'", "a role's name"),
    ("accounts.role_name", "", "''", "a role's name"),
    ("accounts.session_name", "a", "'a'", "2 to 64 characters"),
    ("accounts.session_name", None, "None", "2 to 64 characters"),
    ("regions.include", ["us-east-1a"], "'us-east-1a'", "us-east-1"),
    ("regions.include", ["US-EAST-1"], "'US-EAST-1'", "the word all"),
    ("regions.exclude", ["all"], "'all'", "a region's name"),
    ("findings.pipelines", [""], "''", "1 to 1024 characters"),
    ("findings.pipelines", ["a\x1b[31m"], r"'a\x1b[31m'", "printable"),
    ("findings.filters", "x", "'x'", "imageBuildVersionArn"),
    ("findings.filters", {"severity": "HIGH"}, "'HIGH'", "a list"),
    ("findings.filters", {"severity": [""]}, "''", "severity"),
    ("findings.filters", {"imagePipelineArn": [IMAGE]}, "'arn:aws", "image-pipeline/"),
    ("findings.filters", {"imageBuildVersionArn": ["golden"]}, "'golden'", "image/NAME"),
    ("findings.split", "both", "'both'", "auto, none, severity, pipeline, image"),
    ("findings.page_size", 101, "101", "from 1 to 100"),
    ("findings.page_size", 0, "0", "from 1 to 100"),
    ("findings.page_size", True, "True", "from 1 to 100"),
    ("limits.max_concurrency", "many", "'many'", "a whole number from 1 to 1000"),
    ("limits.max_concurrency", 64.5, "64.5", "a whole number from 1 to 1000"),
    ("limits.max_concurrency", 10**30, "1000", "from 1 to 1000"),
    ("limits.max_concurrency", 16**9999, "a very long int", "from 1 to 1000"),
    ("limits.max_rate", 0, "0", "above 0, up to 1000"),
    ("limits.max_rate", float("nan"), "nan", "above 0, up to 1000"),
    ("limits.max_rate", float("inf"), "inf", "above 0, up to 1000"),
    ("limits.max_rate", True, "True", "above 0, up to 1000"),
    ("limits.max_rate", "3", "'3'", "above 0, up to 1000"),
    ("limits.deadline", 90, "90", "90s, 30m, 2h or 1h30m"),
    ("limits.deadline", "soon", "'soon'", "90s, 30m, 2h or 1h30m"),
    ("output.path", "", "''", "a path"),
    ("output.path", "a\0.ndjson", r"'a\x00.ndjson'", "no control characters"),
    ("output.path", "\ud800.ndjson", r"'\ud800.ndjson'", "a path"),
    ("output.path", "s3://bucket/x/", "'s3://bucket/x/'", "no URL"),
    ("output.path", "a.json", "'a.json'", "NAME.ndjson.zst"),
    ("output.path", ".ndjson", "'.ndjson'", "NAME.ndjson"),
    ("output.path", "a.NDJSON", "'a.NDJSON'", "NAME.ndjson"),
    ("output.path", object(), "<object", "a path"),
    ("output.compression", "gzip", "'gzip'", "none, zstd"),
    ("output.summary", "-", "'-'", "not the path of a file"),
    ("output.summary", "a/", "'a/'", "not the path of a file"),
    ("output.summary", ".", "'.'", "folders are not allowed"),
    ("log.level", "warn", "'warn'", "error, warning, info, debug, trace"),
    ("log.format", ["json"], "['json']", "text, json"),
    ("aws.profile", "", "''", "1 to 1024"),
    ("aws.endpoint_url", "localhost:4566", "'localhost:4566'", "http or https URL"),
    ("aws.endpoint_url", "ftp://host", "'ftp://host'", "http or https URL"),
    ("aws.endpoint_url", "http://", "'http://'", "http or https URL"),
    ("aws.endpoint_url", "http://h:99999", "'http://h:99999'", "http or https URL"),
    ("aws.endpoint_url", "http://h/path", "'http://h/path'", "no path"),
]


@pytest.mark.parametrize(
    ("key", "value", "seen", "allowed"), BAD_VALUES, ids=range(len(BAD_VALUES))
)
def test_refused_values(key: str, value: object, seen: str, allowed: str) -> None:
    message = refused(overrides={key: value})
    assert message.startswith(key)
    assert f": {seen}" in message
    assert allowed in message
    assert len(message) < 400

    message = refused(overrides={key: value}, origins={key: "--option"})
    assert message.startswith("--option")
    assert f": {seen}" in message
    assert allowed in message


def test_long_values_are_cut() -> None:
    message = refused(overrides={"log.level": "x" * 10_000})
    assert f"{'x' * 78}…" in message
    assert "x" * 79 not in message


def test_the_promised_words() -> None:
    assert (
        refused('[limits]\nmax_concurrency = "many"')
        == "harvester.toml:2: limits.max_concurrency: 'many' is not a whole number from 1 to 1000"
    )
    assert (
        refused(overrides={"accounts.include": ["123"]}, origins={"accounts.include": "--account"})
        == "--account: '123' is not an account id: 12 digits"
    )
    assert (
        refused("[limits]\nmax_concurency = 3")
        == "harvester.toml:2: limits.max_concurency: unknown key;"
        " did you mean max_concurrency? Allowed: deadline, max_concurrency, max_rate,"
        " max_resume_age, processes"
    )


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[acounts]", ["acounts: unknown section; did you mean accounts?", "Allowed: accounts, "]),
        ('role_name = "R"', ["role_name: unknown section; did you mean accounts.role_name?"]),
        ("[zzz]", ["zzz: unknown section. Allowed: accounts, aws, findings, limits, log"]),
        ('"a\\nb" = 1', [r"'a\nb': unknown section"]),
        ('[log]\n"\\u001b" = 1', [r"log.'\x1b': unknown key", "Allowed: format, level"]),
        ("accounts = 3", ["accounts: 3 is not a table", "session_name"]),
        ("[[accounts]]\nexternal_id = 'x'", ["accounts: a list of tables", "is not a table"]),
        (
            "[findings.filters]\nSeverity = ['HIGH']",
            ["findings.filters.Severity: unknown filter; did you mean severity?", *FILTER_NAMES],
        ),
        ("[log]\nlevel = 1979-05-27", ["log.level: datetime.date(1979, 5, 27) is not one of"]),
    ],
)
def test_refused_keys(text: str, parts: list[str]) -> None:
    message = refused(text)
    for part in parts:
        assert part in message


def test_a_filter_option_is_named_with_its_filter() -> None:
    origins = {"findings.filters": "--filter"}
    message = refused(overrides={"findings.filters": {"Severity": ["HIGH"]}}, origins=origins)
    assert message.startswith("--filter Severity: unknown filter; did you mean severity?")
    message = refused(overrides={"findings.filters": {"severity": [""]}}, origins=origins)
    assert message.startswith("--filter severity: '' is not")


def test_an_override_of_a_broken_section_names_the_section() -> None:
    assert "1: limits: 3 is not a table" in refused("limits = 3", {"limits.max_rate": 2.0})
    assert "1: accounts: 3 is not" in refused("accounts = 3", {"accounts.include": [ONE]})
    assert refused("", {"nowhere": 3}).startswith("nowhere: unknown section")


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (
            {"accounts.organization": True, "accounts.include": [ONE], "accounts.role_name": "R"},
            ["accounts.organization and accounts.include", ONE, "contradict", "together"],
        ),
        (
            {
                "accounts.organization": True,
                "accounts.organizational_units": ["r-ab12"],
                "accounts.role_name": "R",
            },
            ["accounts.organization and accounts.organizational_units", "r-ab12", "contradict"],
        ),
        (
            {"accounts.organization": True},
            ["accounts.role_name is needed with accounts.organization", "'security/Harvester'"],
        ),
        (
            {"accounts.organizational_units": ["r-ab12"]},
            ["accounts.role_name is needed with accounts.organizational_units"],
        ),
        (
            {"accounts.include": [ONE], "accounts.exclude": [TWO, ONE]},
            ["accounts.exclude", "accounts.include", ONE, "must stay"],
        ),
        (
            {"regions.include": ["all", "us-east-1"]},
            ["regions.include: 'all' and ['us-east-1'] contradict", "'all' alone"],
        ),
        (
            {"regions.include": ["us-east-1"], "regions.exclude": ["us-east-1"]},
            ["regions.exclude: ['us-east-1'] leaves none", "regions.include", "must stay"],
        ),
        (
            {"output.compression": "zstd"},
            ["output.compression: 'zstd' is for a folder", "output.path '-'", ".ndjson.zst"],
        ),
        (
            {"output.compression": "zstd", "output.path": "a.ndjson.zst"},
            ["output.compression: 'zstd' is for a folder", "output.path 'a.ndjson.zst'"],
        ),
        (
            {"output.path": "a.ndjson", "output.summary": "./a.ndjson"},
            ["output.summary: './a.ndjson' is also output.path", "any other file"],
        ),
    ],
)
def test_contradictions(overrides: dict[str, Any], parts: list[str]) -> None:
    message = refused(overrides=overrides)
    for part in parts:
        assert part in message
    origins = {key: f"--{key.partition('.')[2]}" for key in overrides}
    message = refused(overrides=overrides, origins=origins)
    for part in parts:
        expected = part
        for key, option in origins.items():
            expected = expected.replace(key, option)
        assert expected in message


def test_units_may_stay_when_all_accounts_named_are_excluded() -> None:
    accounts = AccountSettings(
        organizational_units=("r-ab12",), include=(ONE,), exclude=(ONE,), role_name="R"
    )
    assert check_settings(Settings(accounts=accounts)).accounts == accounts


def test_check_settings_looks_at_values_and_contradictions() -> None:
    made = Settings(limits=LimitSettings(max_concurrency=0))
    with pytest.raises(SettingsError, match=r"^limits\.max_concurrency: 0 is not"):
        check_settings(made)
    with pytest.raises(SettingsError, match=r"^--max-concurrency: 0 is not"):
        check_settings(made, {"limits.max_concurrency": "--max-concurrency"})
    with pytest.raises(SettingsError, match="role_name is needed"):
        check_settings(Settings(accounts=AccountSettings(organization=True)))
    with pytest.raises(SettingsError, match=r"^accounts\.include: '1' is not an account id"):
        Settings(accounts={"include": ["1"]})
    with pytest.raises(SettingsError, match=r"^log: 5 is not a table"):
        Settings(log=5)  # type: ignore[arg-type]


# Secrets


@pytest.mark.parametrize("section", ["aws", "accounts", "output", "nowhere"])
@pytest.mark.parametrize(
    "key", ["access_key_id", "aws_secret_access_key", "sessionToken", "PASSWORD", "deep.secret"]
)
def test_secrets_have_no_key_and_are_not_repeated(section: str, key: str) -> None:
    message = refused(f'[{section}]\n{key} = "{SECRET}"')
    assert message == (
        f"harvester.toml:2: {section}.{key}: credentials have no key here; they come from the"
        " SDK's own chain"
        " (environment, profile, role)"
    )


@pytest.mark.parametrize(
    "text",
    [
        f'[accounts]\nexternal_id = "{SECRET} "',
        f'[accounts]\nexternal_id = ["{SECRET}"]',
        f'[[accounts]]\nexternal_id = "{SECRET}"',
        f'[accounts]\nexternalid = "{SECRET}"',
        f'[accounts]\nrole_name = {{ external_id = "{SECRET}" }}',
        f'accounts = [[{{ external_id = "{SECRET}" }}]]',
        f'external_id = "{SECRET}"',
        f'[aws]\nendpoint_url = "http://user:{SECRET}@host"',
        f'[aws]\nendpoint_url = "http://host?token={SECRET}"',
        f'[aws]\nendpoint_url = ["http://user:{SECRET}@host"]',
        f'[output]\npath = "https://user:{SECRET}@host/x.ndjson"',
        f'[aws]\nsecret = "{SECRET}"',
        f'[[aws]]\nsecret = "{SECRET}"',
        f'token = "{SECRET}"',
        f'[aws]\nsecret = "{SECRET}',
    ],
)
def test_what_may_be_secret_is_never_repeated(text: str) -> None:
    assert SECRET not in refused(text)


def test_the_external_id_is_not_in_the_repr() -> None:
    settings = Settings(accounts=AccountSettings(external_id=SECRET, include=(ONE,)))
    assert SECRET not in repr(settings)
    assert ONE in repr(settings)


# The file


def test_a_named_file_must_be_there() -> None:
    with pytest.raises(SettingsError, match=r"^no\.toml: there is no such file"):
        load_settings("no.toml")


@pytest.mark.parametrize("name", [".", "a\0b", "a\nb"])
def test_a_file_that_cannot_be_read(name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(Path(name))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"[log\n", r"a\.toml: not valid TOML: .*at line 1, column 5"),
        (b"[log]\nlevel = \n", r"a\.toml: not valid TOML: .*at line 2, column 9"),
        (b"[log]\n[log]\n", r"a\.toml: not valid TOML: .*at line 2"),
        (b"a = 1\nb = '\xff'", r"a\.toml: not UTF-8 text \(at line 2\)"),
        (b"a = " + b"[" * 50_000, r"a\.toml: not valid TOML: nested too deeply"),
        (b"a = " + b"9" * 5_000, r"a\.toml: not valid TOML: "),
        (b"a.a" + b".a" * 2_000 + b" = 1", r"a\.toml:1: a: unknown section"),
        (b"#" * (1024 * 1024 + 1), r"a\.toml: larger than 1 MiB"),
    ],
    ids=range(8),
)
def test_a_file_that_is_no_toml(data: bytes, expected: str) -> None:
    Path("a.toml").write_bytes(data)
    with pytest.raises(SettingsError) as caught:
        load_settings("a.toml")
    assert re.match(expected, str(caught.value))
    assert str(caught.value).isprintable()
