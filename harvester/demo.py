"""`harvester demo`: a simulated organization, swept as a real one would be."""

from __future__ import annotations

import os
from dataclasses import replace

import anyio
from rich.console import Console
from rich.text import Text

from harvester.commands import started, sweep_with_display
from harvester.demo_files import DemoFiles, claim, files_for
from harvester.invocation import Invocation
from harvester.settings import Settings, check_settings
from harvester.simulator import Behaviour, Faults, Organization, OrganizationSpec, Simulator

_SPEC = OrganizationSpec(
    accounts=12,
    regions=("us-east-1", "eu-west-1", "ap-southeast-2"),
    findings=20_000,
    suspended=1,
    seed=2026,
)
_BEHAVIOUR = Behaviour(rate=5.0, burst=5, latency=0.08, jitter=0.08)
_FAULTS = Faults(error_503=0.01, reset=0.01)
_ROLE = "Harvester"
_PARTIAL = 3


def demo_command(output: str, progress: str, invocation: Invocation) -> int:
    """Serve the organization on loopback, sweep it, and say what to type next."""
    files = files_for(output)
    settings = _settings(files)
    claim(files)
    return anyio.run(_demo, settings, progress, invocation)


async def _demo(settings: Settings, progress: str, invocation: Invocation) -> int:
    organization = Organization.generate(_SPEC)
    denied = max(
        account.id
        for account in organization.accounts
        if account.status == "ACTIVE" and account.id != organization.management
    )
    faults = replace(_FAULTS, denied_accounts=frozenset({denied}))
    console = Console(stderr=True, highlight=False)
    async with Simulator(organization, behaviour=_BEHAVIOUR, faults=faults) as simulator:
        _forget_the_real_aws()
        os.environ.update(simulator.environment())
        started(settings, invocation)
        console.print(
            Text.assemble(
                ("A simulated organization", "bold"),
                f": {_SPEC.accounts} accounts (one suspended, one that denies the role), "
                f"{len(_SPEC.regions)} regions, {_SPEC.findings:,} findings, throttled.\n",
                "  harvester sweep --organization --role-name Harvester --region all "
                f"--output {settings.output.path}\n",
            ),
            soft_wrap=True,
        )
        code = await sweep_with_display(
            settings, progress, fresh=True, simulated=True, invocation=invocation
        )
    if code in (0, _PARTIAL):
        _say_next(console, settings)
    # One account was denied on purpose: that is what the demo shows, not a failure of it.
    return 0 if code == _PARTIAL else code


def _settings(files: DemoFiles) -> Settings:
    return check_settings(
        Settings(
            accounts={"organization": True, "role_name": _ROLE},
            regions={"include": ["all"]},
            output={"path": files.output, "summary": files.summary},
        ),
        {"output.path": "--output"},
    )


def _forget_the_real_aws() -> None:
    for name in list(os.environ):
        if name.startswith("AWS_") and name != "AWS_CA_BUNDLE":
            del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull


def _say_next(console: Console, settings: Settings) -> None:
    path = settings.output.path
    console.print(
        Text.assemble(
            ("\nThe findings", "bold"),
            f" lie in {path}, one JSON object a line, the summary in {settings.output.summary}.\n",
            f"  head -n 1 {path}\n\n",
            ("Next, your own account", "bold"),
            " (its credentials as for the AWS command line):\n",
            "  harvester sweep --region us-east-1 --output findings.ndjson\n",
            ("Then a whole organization", "bold"),
            ", with the role that README.md describes:\n",
            "  harvester sweep --organization --role-name Harvester --region all \\\n",
            "      --output findings/ --summary summary.json",
        ),
        soft_wrap=True,
    )
