"""The command line: options to settings. What a command does is in `harvester.commands`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import click

from harvester._version import __version__
from harvester.invocation import Invocation
from harvester.rehearsal_options import with_knobs
from harvester.signals import Interrupted, Signals
from harvester.start import quick_imports
from harvester.terminal.stderr import wrap_lines

_EXAMPLES = """
\b
Examples:
  harvester demo
  harvester sweep --output findings.ndjson.gz
  harvester sweep --organization --role-name security/Harvester --region all \\
      --output findings/ --summary summary.json
  harvester sweep --account 111122223333 --role-name Harvester --region eu-west-1 \\
      --filter severity=CRITICAL --filter severity=HIGH | jq -r .title
  harvester plan --ou ou-ab12-cdefgh34 --role-name Harvester --pipeline 'golden-*'
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """An option that has a key in the config file."""

    flags: tuple[str, ...]
    key: str
    help: str
    metavar: str | None = None
    many: bool = False
    number: type[int | float] | None = None

    @property
    def is_for_output(self) -> bool:
        """Whether the option says where output goes."""
        return self.key.startswith("output.")

    @property
    def name(self) -> str:
        """The option as messages name it."""
        return self.flags[-1].partition("/")[0]


_SETTINGS = (
    Setting(
        ("-o", "--output"),
        "output.path",
        "'-' is stdout, the default; NAME.ndjson, .ndjson.gz or .ndjson.zst is one file; a name "
        "that ends in '/' or is a folder is partitioned by account and region.",
        "DEST",
    ),
    Setting(
        ("--organization",), "accounts.organization", "Every ACTIVE account of the organization."
    ),
    Setting(
        ("--ou",),
        "accounts.organizational_units",
        "The ACTIVE accounts below this unit, at any depth. Again and again.",
        "ID",
        many=True,
    ),
    Setting(("--account",), "accounts.include", "This account. Again and again.", "ID", many=True),
    Setting(
        ("--exclude-account",),
        "accounts.exclude",
        "Not this account. Again and again.",
        "ID",
        many=True,
    ),
    Setting(
        ("--role-name",),
        "accounts.role_name",
        "The role to assume in each account, with its path: security/Harvester. Needed as soon as "
        "an account is not the caller's own.",
        "NAME",
    ),
    Setting(
        ("--external-id",), "accounts.external_id", "What the role's trust policy asks for.", "TEXT"
    ),
    Setting(
        ("--session-name",),
        "accounts.session_name",
        "The role session's name, seen in CloudTrail. Default: harvester.",
        "TEXT",
    ),
    Setting(
        ("--region",),
        "regions.include",
        "This region; 'all' is every region enabled in the account. Default: the configured one. "
        "Again and again.",
        "NAME",
        many=True,
    ),
    Setting(
        ("--exclude-region",),
        "regions.exclude",
        "Not this region. Again and again.",
        "NAME",
        many=True,
    ),
    Setting(
        ("--pipeline",),
        "findings.pipelines",
        "Only pipelines whose name or ARN matches. Again and again.",
        "GLOB",
        many=True,
    ),
    Setting(
        ("--filter",),
        "findings.filters",
        "imageBuildVersionArn, imagePipelineArn, vulnerabilityId or severity; values of one name "
        "are alternatives, different names must all hold. Again and again.",
        "NAME=VALUE",
        many=True,
    ),
    Setting(
        ("--split",),
        "findings.split",
        "How one large target is cut into concurrent queries: auto (the default), none, severity, "
        "pipeline, image.",
        "MODE",
    ),
    Setting(
        ("--verify/--no-verify",),
        "findings.verify",
        "Compare the number of findings read with the service's own counts, strictly or never. "
        "Default: where it costs at most one call, and a systematic difference is a warning.",
    ),
    Setting(
        ("--page-size",),
        "findings.page_size",
        "Findings a page. Default: the most that the service grants.",
        "N",
        number=int,
    ),
    Setting(
        ("--max-concurrency",),
        "limits.max_concurrency",
        "Requests in flight, overall. Default: 64.",
        "N",
        number=int,
    ),
    Setting(
        ("--max-rate",),
        "limits.max_rate",
        "Requests a second, for each account and region.",
        "R",
        number=float,
    ),
    Setting(
        ("--processes",),
        "limits.processes",
        "Processes that read findings, where one core is not enough. Default: 1.",
        "N",
        number=int,
    ),
    Setting(("--deadline",), "limits.deadline", "Stop after this time: 90s, 30m, 2h.", "DURATION"),
    Setting(
        ("--max-resume-age",),
        "limits.max_resume_age",
        "When resuming an unfinished sweep, read accounts and regions again whose findings are "
        "older than this. Default: 6h.",
        "DURATION",
    ),
    Setting(
        ("--on-partial",),
        "output.on_partial",
        "Of a single file's earlier lines, keep (the default) or drop those of accounts and "
        "regions that cannot be read this time.",
        "keep|drop",
    ),
    Setting(("--summary",), "output.summary", "Write the summary as JSON.", "FILE"),
    Setting(
        ("--log-format",), "log.format", "text (the default) or json; logs go to stderr.", "FORMAT"
    ),
    Setting(("--profile",), "aws.profile", "A profile of the SDK's configuration.", "NAME"),
    Setting(("--endpoint-url",), "aws.endpoint_url", "Send every request there.", "URL"),
    Setting(
        ("--allow-insecure-endpoint",),
        "aws.allow_insecure_endpoint",
        "Allow endpoints that are http and not on this machine: session tokens can be read on the "
        "way there.",
    ),
)


_TO_STDOUT = ("output.path", "-")
_NO_FILES = dict([_TO_STDOUT, ("output.compression", "none"), ("output.summary", None)])
"""In place of the config file's [output], for a command that writes to stdout only."""


def _with_settings(command: Callable[..., Any], *, writes_files: bool = True) -> Callable[..., Any]:
    """Give a command the options that have a key, and -c, -q, -v.

    A command that writes no files has the options for output too, to refuse them by name.
    """
    command = click.option(
        "-v", "--verbose", count=True, help="More logs; -vv for the SDK's as well."
    )(command)
    command = click.option("-q", "--quiet", is_flag=True, help="Only errors.")(command)
    for setting in reversed(_SETTINGS):
        flag = setting.metavar is None
        command = click.option(
            *setting.flags,
            setting.key.replace(".", "__"),
            metavar=setting.metavar,
            is_flag=flag,
            default=None,
            multiple=setting.many,
            help=setting.help,
            hidden=setting.is_for_output and not writes_files,
        )(command)
    return click.option(
        "-c",
        "--config",
        metavar="FILE",
        help="TOML settings; an option beats its key. Default: ./harvester.toml where there is one.",
    )(command)


def _load(
    config: str | None,
    *,
    quiet: bool,
    verbose: int,
    given: dict[str, Any],
    fixed: Mapping[str, Any] | None = None,
) -> Any:
    """Return the settings from the config file and the options that were given.

    `fixed` values, by key, stand in place of the config file's.
    """
    from harvester.errors import SettingsError
    from harvester.settings import load_settings
    from harvester.settings.paths import expand_path

    overrides: dict[str, Any] = dict(fixed or {})
    for setting in _SETTINGS:
        value = given[setting.key.replace(".", "__")]
        if value is None or value == ():
            continue
        if setting.key == "findings.filters":
            value = _filters(value)
        overrides[setting.key] = _number(value, setting.number) if setting.number else value
    if quiet and verbose:
        raise SettingsError("--quiet: contradicts --verbose; give one of them")
    if quiet or verbose:
        overrides["log.level"] = "error" if quiet else ("debug" if verbose == 1 else "trace")
    origins = {setting.key: setting.name for setting in _SETTINGS if setting.key in overrides}
    if config is not None:
        config = expand_path("--config", config)
    return load_settings(config, overrides, origins)


@contextmanager
def _naming(settings: Any) -> Iterator[None]:
    """Name the option, or the config file's line, in an error about a key that comes late."""
    from harvester.errors import SettingsError

    try:
        yield
    except SettingsError as error:
        found = re.match(r"(?P<key>[a-z]+\.[a-z_]+)(?: \(--[a-z-]+\))?(?=: )", str(error))
        name = settings.name_of(found["key"]) if found else ""
        if found is None or name == found["key"]:
            raise
        named = SettingsError(f"{name}{str(error)[found.end() :]}", hint=error.hint)
        raise named from error.__cause__


def _refuse_output(given: dict[str, Any]) -> None:
    """Raise SettingsError for an option for output; `-o -` is what the command does anyway."""
    from harvester.errors import SettingsError
    from harvester.text import printable

    for setting in _SETTINGS:
        value = given[setting.key.replace(".", "__")]
        if setting.is_for_output and value is not None and (setting.key, value) != _TO_STDOUT:
            raise SettingsError(
                f"{setting.name}: {printable(value, 80)!r} is for sweep; plan prints to stdout"
                " and writes no file: leave it out, or redirect stdout"
            )


def _filters(pairs: Sequence[str]) -> dict[str, list[str]]:
    from harvester.errors import SettingsError
    from harvester.text import printable

    filters: dict[str, list[str]] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise SettingsError(
                f"--filter: {printable(pair, 80)!r} is not NAME=VALUE, such as severity=CRITICAL"
            )
        filters.setdefault(name, []).append(value)
    return filters


def _number(text: str, kind: type[int | float]) -> Any:
    try:
        return kind(text)
    except ValueError:
        return text  # the settings say what is allowed


_progress = click.option(
    "--progress",
    metavar="on|off|auto",
    help="A live display; auto, the default: where stderr is a terminal.",
)


def _checked_progress(given: str | None) -> str:
    if given is None:
        return "auto"
    from typing import Literal

    from harvester.settings.values import check_value

    mode: str = check_value("--progress", given, Literal["on", "off", "auto"])
    return mode


@click.group(
    epilog=_EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "-V", "--version", prog_name="harvester")
def cli() -> None:
    """Harvest EC2 Image Builder's image scan findings from a whole AWS organization, as NDJSON."""


@cli.command(epilog=_EXAMPLES, short_help="Read every finding, and write each once.")
@_with_settings
@click.option("--fresh", is_flag=True, help="Throw an unfinished sweep of this output away.")
@_progress
def sweep(
    *,
    config: str | None,
    quiet: bool,
    verbose: int,
    fresh: bool,
    progress: str | None,
    **given: Any,
) -> int:
    """Read every finding of the chosen accounts and regions, and write each once.

    Stdout carries NDJSON and nothing else. Exit codes: 0 every target complete; 2 wrong usage or
    settings; 3 some targets failed or are incomplete; 4 could not begin; 5 the output cannot be
    written; 129, 130, 143 interrupted; 141 the reader of stdout went away.
    """
    mode = _checked_progress(progress)
    settings = _load(config, quiet=quiet, verbose=verbose, given=given)
    with quick_imports():
        from harvester.commands import sweep_command

    with _naming(settings):
        return sweep_command(settings, mode, fresh=fresh, invocation=_invocation())


@cli.command(epilog=_EXAMPLES, short_help="Print accounts, regions and queries; read nothing.")
@partial(_with_settings, writes_files=False)
def plan(*, config: str | None, quiet: bool, verbose: int, **given: Any) -> int:
    """Print accounts, regions and queries, without reading a finding.

    A table on a terminal, otherwise NDJSON: one target a line. Always on stdout: --output and
    --summary are refused, and the config file's section [output] is not used.
    """
    _refuse_output(given)
    settings = _load(config, quiet=quiet, verbose=verbose, given=given, fixed=_NO_FILES)
    with quick_imports():
        from harvester.commands import plan_command

    with _naming(settings):
        return plan_command(settings, invocation=_invocation())


@cli.command(short_help="Serve a simulated AWS organization on loopback.")
@click.option("--port", default="0", metavar="N", help="Default: any free one.")
@click.option(
    "--for", "lasting", metavar="DURATION", help="Stop after this time: 90s, 30m. Default: Ctrl-C."
)
@click.option(
    "--fault",
    "rates",
    metavar="NAME=RATE",
    multiple=True,
    help="How often requests fail, 0 to 1: call_rate_limit, throttling, too_many_requests, "
    "request_limit, slow_down, bare_429, error_500, error_503, reset, truncated, slow, damaged, "
    "expired, refused_token, empty_page, repeated_token, or all. Again and again.",
)
@with_knobs
def simulate(*, port: str, lasting: str | None, rates: tuple[str, ...], **given: Any) -> int:
    """Serve a simulated organization, to rehearse settings without touching AWS.

    Prints the variables that make a shell a caller in its management account. A PLACE is an
    account, a region, or ACCOUNT/REGION; options that take one may be given again and again.
    """
    from harvester.rehearsal import simulate_command

    signals = _invocation().signals
    return simulate_command(given, faults=rates, port=port, lasting=lasting, signals=signals)


@cli.command(short_help="Sweep a simulated organization: the first thing to try.")
@click.option(
    "-o",
    "--output",
    default="harvester-demo/findings.ndjson",
    metavar="DEST",
    help="Where the findings go. Default: harvester-demo/findings.ndjson.",
)
@_progress
def demo(output: str, progress: str | None) -> int:
    """Sweep a simulated organization and show the result: no AWS account is needed."""
    mode = _checked_progress(progress)
    from harvester.demo import demo_command

    return demo_command(output, mode, _invocation())


def main(arguments: Sequence[str] | None = None, signals: Signals | None = None) -> int:
    """Run the command line, and return its exit code.

    Args:
        arguments: those of the process by default.
        signals: the handlers of the process, None where signals have their usual effect.
    """
    from harvester.terminal.stdout import checked_stdout

    invocation = Invocation(arguments, signals)
    if invocation.asks_for_json:
        wrap_lines(lambda line: _as_json(line, invocation))
    try:
        with checked_stdout():
            code = cli.main(
                list(invocation.arguments),
                prog_name="harvester",
                standalone_mode=False,
                obj=invocation,
            )
    except click.exceptions.NoArgsIsHelpError as error:
        if invocation.log_format == "text":
            error.show()
            return 2
        return _report(click.UsageError("Missing command.", error.ctx), invocation)
    except (Interrupted, Exception) as error:  # noqa: BLE001  # each is reported in its way
        return _report(error, invocation)
    return code if isinstance(code, int) else 0


def _report(error: BaseException, invocation: Invocation) -> int:
    """Report an error that ends the command, and return its exit code."""
    from harvester.errors import OutputClosedError
    from harvester.terminal.failures import failure_of, report, usage_failure

    if isinstance(error, click.Abort):
        return 130
    if isinstance(error, OutputClosedError):
        return error.exit_code
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "harvester"
        return report(usage_failure(error.format_message(), command), invocation)
    return report(failure_of(error), invocation)


def _as_json(line: str, invocation: Invocation) -> str:
    """Return text that does not come from the log as a line of JSON."""
    from harvester.terminal.records import JsonLine

    return JsonLine(invocation.run_id).wrap(line)


def _invocation() -> Invocation:
    found = click.get_current_context().obj
    return found if isinstance(found, Invocation) else Invocation()
