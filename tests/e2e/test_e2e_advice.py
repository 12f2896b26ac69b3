"""Each piece of advice that a message gives is followed here, and then the command works."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping

from harvester.simulator import Behaviour, Faults, Simulator
from tests.e2e.support import (
    EVERYTHING,
    ROLE,
    Command,
    Done,
    organization,
    pages_asked,
    until,
)

_ONE = {"accounts": 2, "suspended": 0, "findings": 40, "regions": ("us-east-1", "eu-west-1")}


async def _advised(
    command: Command,
    simulator: Simulator,
    code: int,
    advice: str,
    *options: str,
    env: Mapping[str, str] | None = None,
) -> None:
    """The command ends with this code, and its last lines hold the advice."""
    done = await command.sweep(simulator, *options, env=env)
    assert done.code == code, done.err
    assert advice in done.err, done.err


async def _works(
    command: Command,
    simulator: Simulator,
    *options: str,
    env: Mapping[str, str] | None = None,
) -> Done:
    done = await command.sweep(simulator, *options, env=env)
    assert done.code == 0, done.err
    return done


async def test_exclude_a_region_that_is_not_enabled_or_forbidden(command: Command) -> None:
    one = organization(**_ONE)
    everything = ("--organization", *ROLE, "--region", "us-east-1", "--region", "eu-west-1")
    for faults in (
        Faults(disabled_regions=frozenset({"eu-west-1"})),
        Faults(policy_denied_targets=frozenset({(one.accounts[1].id, "eu-west-1")})),
    ):
        async with Simulator(one, faults=faults) as simulator:
            advice = "--exclude-region eu-west-1"
            await _advised(command, simulator, 3, advice, *everything, "--fresh")
            await _works(command, simulator, *everything, "--fresh", *advice.split())


async def test_exclude_an_account_that_cannot_be_entered(command: Command) -> None:
    one = organization(**_ONE)
    closed = next(each.id for each in one.accounts if each.id != one.management)
    async with Simulator(one, faults=Faults(denied_accounts=frozenset({closed}))) as simulator:
        await _advised(command, simulator, 3, "does the role exist in this account", *EVERYTHING)
        await _works(command, simulator, *EVERYTHING, "--exclude-account", closed)


async def test_give_the_right_external_id(command: Command) -> None:
    behaviour = Behaviour(external_id="right-one")
    async with Simulator(organization(**_ONE), behaviour=behaviour) as simulator:
        await _advised(command, simulator, 3, "is --external-id right?", *EVERYTHING)
        await _works(command, simulator, *EVERYTHING, "--external-id", "right-one")


async def test_give_the_name_of_a_role(command: Command) -> None:
    async with Simulator(organization(**_ONE)) as simulator:
        advice = "give --role-name NAME"
        await _advised(command, simulator, 2, advice, "--organization", "--region", "all")
        await _works(command, simulator, "--organization", "--region", "all", *ROLE)
        (command.folder / "its.toml").write_text('[accounts]\nrole_name = "Harvester"\n')
        options = ("-c", "its.toml", "--organization", "--region", "all")
        await _works(command, simulator, *options)


async def test_read_the_organization_from_its_management_account(command: Command) -> None:
    one = organization(**{**_ONE, "accounts": 4})
    known = {one.management, *one.delegated}
    member = next(each.id for each in one.accounts if each.id not in known)
    async with Simulator(one) as simulator:
        advice = "run from the management or a delegated administrator account"
        env = simulator.environment(member)
        await _advised(command, simulator, 4, advice, *EVERYTHING, env=env)
        await _works(command, simulator, *EVERYTHING)


async def test_name_a_region_in_each_of_the_ways_that_are_named(command: Command) -> None:
    none = {"AWS_REGION": "", "AWS_DEFAULT_REGION": ""}
    async with Simulator(organization(**_ONE)) as simulator:
        advice = "use --region NAME, --region all, or set AWS_REGION"
        await _advised(command, simulator, 2, advice, env=none)
        await _works(command, simulator, "--region", "eu-west-1", env=none)
        await _works(command, simulator, "--region", "all", env=none)
        await _works(command, simulator, env={**none, "AWS_REGION": "eu-west-1"})
        advice = "did you mean eu-west-1?"
        await _advised(command, simulator, 2, advice, env={"AWS_REGION": "eu-wset-1"})


async def test_fresh_and_the_old_value_both_get_past_another_selection(command: Command) -> None:
    one = organization(**{**_ONE, "findings": 2000, "empty_share": 0.0})
    journal = command.folder / ".out.ndjson.harvester" / "journal"
    async with Simulator(one, behaviour=Behaviour(latency=0.4)) as simulator:

        async def stop_in_the_middle() -> None:
            arguments = ("sweep", "-o", "out.ndjson", *EVERYTHING)
            async with command.start(simulator, *arguments) as process:
                # Only a sweep of which pages are committed can be resumed.
                await until(
                    lambda: journal.exists() and re.search(rb'"end":[1-9]', journal.read_bytes())
                )
                process.kill()
                await process.communicate()

        other = (*EVERYTHING, "--filter", "severity=HIGH")
        await stop_in_the_middle()
        await _advised(command, simulator, 2, "--fresh", *other)
        await _works(command, simulator, *EVERYTHING)
        await stop_in_the_middle()
        await _works(command, simulator, *other, "--fresh")


async def test_another_output_while_one_is_in_use(command: Command) -> None:
    one = organization(**{**_ONE, "findings": 2000})
    slowly = ("--max-rate", "0.2", "--split", "none")
    async with (
        Simulator(one) as simulator,
        command.start(simulator, "sweep", "-o", "out.ndjson", *EVERYTHING, *slowly),
    ):
        await until(lambda: pages_asked(simulator))
        await _advised(command, simulator, 5, "give another --output", *EVERYTHING)
        await _works(command, simulator, "--region", "us-east-1", "-o", "other.ndjson")


async def test_give_the_path_that_a_link_leads_to_or_remove_it(command: Command) -> None:
    link = command.folder / "out.ndjson"
    link.symlink_to("real.ndjson")
    async with Simulator(organization(**_ONE)) as simulator:
        await _advised(command, simulator, 5, "give the path that it leads to, or remove it")
        await _works(command, simulator, "-o", "real.ndjson")
        link.unlink()
        await _works(command, simulator)


async def test_raise_the_limit_of_open_files(command: Command) -> None:
    async with Simulator(organization(**_ONE)) as simulator:
        run = f"{sys.executable} -m harvester sweep -o out.ndjson"
        shell = ("/bin/sh", "-c")

        async def limited(soft: str) -> Done:
            program = (*shell, f"ulimit -n {soft}; exec {run}")
            async with command.start(simulator, program=program) as process:
                return await command.finish(process, 0.0)

        done = await limited("33")
        assert done.code == 4, done.err
        assert "ulimit -n 1024" in done.err
        done = await limited("1024")
        assert done.code == 0, done.err


async def test_allow_an_insecure_endpoint(command: Command) -> None:
    async with Simulator(organization(**_ONE)) as simulator:
        elsewhere = simulator.url.replace("127.0.0.1", "0.0.0.0")  # noqa: S104
        options = ("--endpoint-url", elsewhere)
        advice = "--allow-insecure-endpoint"
        await _advised(command, simulator, 2, advice, *options)
        await _works(command, simulator, *options, advice)


async def test_give_a_file_where_stdout_is_closed(command: Command) -> None:
    async with Simulator(organization(**_ONE)) as simulator:
        run = f"{sys.executable} -m harvester sweep"

        async def closed(rest: str) -> Done:
            program = ("/bin/sh", "-c", f"exec {run} {rest} >&-")
            async with command.start(
                simulator, program=program, stdout=subprocess.DEVNULL
            ) as process:
                return await command.finish(process, 0.0)

        done = await closed("")
        assert done.code == 5, done.err
        assert "give a file: --output FILE" in done.err
        done = await closed("--output out.ndjson")
        assert done.code == 0, done.err


async def test_another_port_or_none_of_ones_own(command: Command) -> None:
    async with Simulator(organization(**_ONE)) as simulator:
        arguments = ("simulate", "--for", "1s", "--accounts", "1", "--port")
        done = await command(None, *arguments, f"{simulator.port}")
        assert done.code != 0
        assert "0 takes any free one" in done.err
        done = await command(None, *arguments, "0")
        assert done.code == 0, done.err
