"""The options of `harvester simulate`: a table, so that help needs none of the simulator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import click

Kind = Literal[
    "count", "seconds", "share", "number", "text", "texts", "places", "flag", "darks", "offsets"
]
_REPEATED = ("texts", "places", "darks", "offsets")
_METAVARS = {
    "count": "N",
    "seconds": "SECONDS",
    "share": "0..1",
    "number": "R",
    "text": "TEXT",
    "texts": "NAME",
    "places": "PLACE",
    "darks": "KIND=[SERVICE:]PLACE",
    "offsets": "[PLACE=]N",
}


@dataclass(frozen=True, slots=True)
class Knob:
    """An option that sets a field of one of the simulator's values."""

    flag: str
    part: Literal["spec", "behaviour", "faults"]
    field: str
    kind: Kind
    help: str

    @property
    def parameter(self) -> str:
        """The name under which click hands the value over."""
        return f"{self.part}__{self.field}"


KNOBS = (
    Knob("--accounts", "spec", "accounts", "count", "How many accounts there are. Default: 12."),
    Knob("--region", "spec", "regions", "texts", "A region that is enabled. Again and again."),
    Knob("--findings", "spec", "findings", "count", "Findings in all. Default: 20000."),
    Knob("--seed", "spec", "seed", "count", "Another seed is another organization. Default: 0."),
    Knob("--suspended", "spec", "suspended", "count", "How many accounts are suspended."),
    Knob("--empty-share", "spec", "empty_share", "share", "The share of empty targets."),
    Knob("--skew", "spec", "skew", "number", "How unequal targets are: 0 equal, 1 Zipf's law."),
    Knob("--depth", "spec", "depth", "count", "Levels of organizational units."),
    Knob(
        "--without-pipeline",
        "spec",
        "without_pipeline",
        "share",
        "The share of findings outside any pipeline.",
    ),
    Knob("--restricted", "spec", "restricted", "count", "Accounts without the last region."),
    Knob("--partition", "spec", "partition", "text", "aws, aws-cn or aws-us-gov."),
    Knob("--page-limit", "behaviour", "page_limit", "count", "The largest page granted."),
    Knob("--default-page", "behaviour", "default_page", "count", "The page when none is asked."),
    Knob(
        "--trailing-page",
        "behaviour",
        "trailing_page",
        "flag",
        "Full last pages lead to an empty one.",
    ),
    Knob(
        "--last-token",
        "behaviour",
        "last_token",
        "text",
        "The nextToken of a last page: absent, empty or null. Default: absent.",
    ),
    Knob("--rate", "behaviour", "rate", "number", "Calls a second for each account and region."),
    Knob(
        "--burst",
        "behaviour",
        "burst",
        "count",
        "Calls at once, with --rate: 1 or more. Default: 10.",
    ),
    Knob("--throttle-code", "behaviour", "throttle_code", "text", "What --rate refuses with."),
    Knob("--throttle-status", "behaviour", "throttle_status", "count", "Its HTTP status."),
    Knob("--latency", "behaviour", "latency", "seconds", "The wait before each answer."),
    Knob("--jitter", "behaviour", "jitter", "seconds", "Up to this much more."),
    Knob(
        "--session-duration",
        "behaviour",
        "session_duration",
        "seconds",
        "The lifetime of every role's credentials.",
    ),
    Knob("--role-name", "behaviour", "role_names", "texts", "A role that exists. Default: any."),
    Knob("--external-id", "behaviour", "external_id", "text", "What AssumeRole must be given."),
    Knob(
        "--token-lifetime",
        "behaviour",
        "token_lifetime",
        "seconds",
        "How long a nextToken is accepted.",
    ),
    Knob("--slow-seconds", "faults", "slow_seconds", "seconds", "How long a slow body takes."),
    Knob("--fault-seed", "faults", "seed", "count", "Draws the faults."),
    Knob("--fault-service", "faults", "services", "texts", "Faults strike these. imagebuilder."),
    Knob("--deny-account", "faults", "denied_accounts", "texts", "AssumeRole is denied there."),
    Knob(
        "--deny-regions-of",
        "faults",
        "regions_denied_accounts",
        "texts",
        "DescribeRegions is denied in this account.",
    ),
    Knob(
        "--deny-organization",
        "faults",
        "organizations_denied",
        "flag",
        "Reading the organization is denied.",
    ),
    Knob("--deny", "faults", "denied_targets", "places", "Image Builder denies every call there."),
    Knob(
        "--deny-by-policy",
        "faults",
        "policy_denied_targets",
        "places",
        "The same, by a service control policy.",
    ),
    Knob("--forbid", "faults", "forbidden_targets", "places", "The same, by ForbiddenException."),
    Knob(
        "--deny-operation",
        "faults",
        "denied_operations",
        "texts",
        "Every caller lacks this permission: ListImagePipelines.",
    ),
    Knob(
        "--disable-region", "faults", "disabled_regions", "texts", "Not enabled: no key is known."
    ),
    Knob(
        "--dead-region", "faults", "dead_regions", "texts", "Connections close without an answer."
    ),
    Knob(
        "--dark",
        "faults",
        "dark",
        "darks",
        "Every call about this place fails: KIND is error (500), hang, close, throttle or slow; "
        "SERVICE is imagebuilder (the default), sts, ec2, organizations or *. "
        "Examples: hang=eu-west-1, slow=sts:111122223333.",
    ),
    Knob(
        "--dark-seconds",
        "faults",
        "dark_seconds",
        "seconds",
        "How long an answer takes where --dark is slow. Default: 30.",
    ),
    Knob(
        "--odd-first-answer",
        "faults",
        "odd_first_answers",
        "places",
        "The first call for findings there is refused with InvalidRequestException.",
    ),
    Knob(
        "--count-offset",
        "faults",
        "count_offsets",
        "offsets",
        "The counts there differ from the lists by N: 3, eu-west-1=-2.",
    ),
    Knob("--count-lag", "faults", "count_lag", "count", "The newest N findings are not counted."),
    Knob("--cycle", "faults", "cycling_targets", "places", "Tokens go A, B, A, B there."),
    Knob("--endless", "faults", "endless_targets", "places", "Empty pages for ever there."),
    Knob("--garbage", "faults", "garbage_targets", "places", "HTML instead of findings there."),
    Knob("--unending", "faults", "unending_targets", "places", "Bodies never end there."),
    Knob(
        "--repeat", "faults", "repeating_targets", "places", "Pages repeat the last finding there."
    ),
    Knob("--hang", "faults", "hung_operations", "texts", "Never answered: ListImages."),
    Knob("--clock-skew", "faults", "clock_skew", "seconds", "How far the clock is ahead."),
)


def with_knobs(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command an option for each knob."""
    for knob in reversed(KNOBS):
        flag = knob.kind == "flag"
        command = click.option(
            knob.flag,
            knob.parameter,
            metavar=_METAVARS.get(knob.kind),
            is_flag=flag,
            default=None,
            multiple=knob.kind in _REPEATED,
            help=knob.help,
        )(command)
    return command
