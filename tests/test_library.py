"""The library as an async application uses it: exact, and nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import random
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import botocore.session
import pytest
from aiobotocore.session import AioSession

import harvester
from harvester import events
from harvester.settings import LimitSettings
from harvester.simulator import Behaviour, Faults, Organization, OrganizationSpec, Simulator

ORGANIZATION = Organization.generate(
    OrganizationSpec(accounts=3, regions=("us-east-1", "eu-west-1"), findings=1500, seed=5)
)


def _settings(**sections: Any) -> harvester.Settings:
    everywhere: dict[str, Any] = {
        "accounts": {"organization": True, "role_name": "Harvester"},
        "regions": {"include": ["all"]},
    }
    return harvester.Settings(**{**everywhere, **sections})


EVERYWHERE = _settings()


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    """In a thread of its own, so that this loop holds nothing but what a sweep made."""
    simulator = Simulator(ORGANIZATION, keep_requests=False)
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(simulator),
    ):
        yield simulator


@pytest.fixture
def caller(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in simulator.environment().items():
        monkeypatch.setenv(name, value)


@asynccontextmanager
async def nothing_left_behind() -> AsyncIterator[None]:
    """Fail where the block leaves a task, a socket, or (warnings being errors) a warning."""
    loop: Any = asyncio.get_running_loop()
    loop.set_debug(True)
    tasks, watched = asyncio.all_tasks(), len(loop._selector.get_map())
    yield
    for _ in range(5):  # a transport closes in the turn after it was told to
        await anyio.lowlevel.checkpoint()
    assert asyncio.all_tasks() == tasks
    assert len(loop._selector.get_map()) == watched
    gc.collect()


def _multiset(findings: Iterable[Mapping[str, object]]) -> Counter[str]:
    return Counter(json.dumps(finding, sort_keys=True) for finding in findings)


EXPECTED = _multiset(ORGANIZATION.expected())


@pytest.mark.usefixtures("caller")
async def test_every_finding_comes_once() -> None:
    async with nothing_left_behind(), harvester.open_sweep(EVERYWHERE) as sweep:
        findings = [finding async for finding in sweep]
        within = sweep.summary

    assert _multiset(findings) == EXPECTED
    summary = sweep.summary
    assert within.status == summary.status == "complete"
    assert within == summary, "final once the iteration ended"
    assert summary.findings == 1500
    assert summary.targets.total == summary.targets.complete == 6
    assert summary.problems == ()
    assert "1,500 findings" in str(summary)


@pytest.mark.usefixtures("caller")
@pytest.mark.parametrize("taken", [1, 100, 700])
@pytest.mark.parametrize("pause", [0, 0.2])
async def test_leaving_the_loop_early(taken: int, pause: float) -> None:
    async with nothing_left_behind(), harvester.open_sweep(EVERYWHERE) as sweep:
        findings = []
        async for finding in sweep:
            findings.append(finding)
            if len(findings) >= taken:
                await anyio.sleep(pause)  # pages wait to be taken
                break

    assert not _multiset(findings) - EXPECTED
    summary = sweep.summary
    assert summary.status == "interrupted"
    assert {problem.code for problem in summary.problems} == {"Interrupted"}
    assert summary.targets.total == summary.targets.complete + len(summary.problems)
    with pytest.raises(harvester.UsageError, match="this sweep is over: make another one"):
        await anext(sweep)


@pytest.mark.usefixtures("caller")
@pytest.mark.parametrize("pause", [0, 0.05, 0.3])
async def test_leaving_the_block_without_iterating(pause: float) -> None:
    async with nothing_left_behind(), harvester.open_sweep(EVERYWHERE) as sweep:
        await anyio.sleep(pause)

    assert sweep.summary.status == "interrupted"


@pytest.mark.usefixtures("caller")
@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
@pytest.mark.parametrize("pause", [0, 0.2])
async def test_an_error_in_the_block_passes_as_it_is(error: BaseException, pause: float) -> None:
    async def fail() -> None:
        async with harvester.open_sweep(EVERYWHERE) as sweep:
            await anext(sweep)
            await anyio.sleep(pause)
            raise error

    async with nothing_left_behind():
        with pytest.raises(type(error)) as caught:
            await fail()
        assert caught.value is error


async def _take_all(delay: float = 0.0) -> None:
    async with harvester.open_sweep(EVERYWHERE) as sweep:
        async for _ in sweep:
            if delay:
                await anyio.sleep(delay)


@pytest.mark.usefixtures("caller")
@pytest.mark.parametrize("seed", range(8))
async def test_cancelled_at_a_random_instant(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(2):
        delay, seconds = rng.choice((0.0, 0.001)), rng.uniform(0, 0.35)
        async with nothing_left_behind():
            with anyio.move_on_after(seconds):
                await _take_all(delay)
            await anyio.lowlevel.checkpoint()  # the cancellation goes no further


@pytest.mark.usefixtures("caller")
@pytest.mark.parametrize("seed", range(8))
async def test_the_task_is_cancelled_at_a_random_instant(seed: int) -> None:
    rng = random.Random(100 + seed)
    async with nothing_left_behind():
        task = asyncio.create_task(_take_all())
        await asyncio.wait([task], timeout=rng.uniform(0, 0.35))
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(rng.uniform(0, 0.2)):
                await _take_all(0.001)


@pytest.mark.usefixtures("caller")
@pytest.mark.parametrize("taken", [1, 150])
async def test_inside_a_generator_that_is_closed_early(taken: int) -> None:
    async def findings() -> AsyncGenerator[harvester.Finding, None]:
        async with harvester.open_sweep(EVERYWHERE) as sweep:
            async for finding in sweep:
                yield finding

    async with nothing_left_behind(), aclosing(findings()) as generator:
        for _ in range(taken):
            await anext(generator)


@pytest.mark.usefixtures("caller")
async def test_two_sweeps_at_once_in_one_loop() -> None:
    async def take(severity: str) -> list[harvester.Finding]:
        settings = _settings(findings={"filters": {"severity": [severity]}})
        async with harvester.open_sweep(settings) as sweep:
            return [finding async for finding in sweep]

    async with nothing_left_behind():
        taken = await asyncio.gather(take("HIGH"), take("LOW"))

    for severity, findings in zip(("HIGH", "LOW"), taken, strict=True):
        expected = [one for one in ORGANIZATION.expected() if one.get("severity") == severity]
        assert _multiset(findings) == _multiset(expected)


@pytest.mark.usefixtures("caller")
async def test_several_tasks_may_share_one_sweep() -> None:
    findings: list[harvester.Finding] = []

    async def work(sweep: harvester.Sweep) -> None:
        async for finding in sweep:
            findings.append(finding)
            await anyio.lowlevel.checkpoint()

    async with (
        nothing_left_behind(),
        harvester.open_sweep(EVERYWHERE) as sweep,
        anyio.create_task_group() as group,
    ):
        for _ in range(4):
            group.start_soon(work, sweep)

    assert len(findings) == 1500
    assert _multiset(findings) == EXPECTED


@pytest.mark.usefixtures("caller")
async def test_reading_goes_on_only_as_fast_as_findings_are_taken() -> None:
    settings = _settings(limits={"max_concurrency": 2})
    async with nothing_left_behind(), harvester.open_sweep(settings) as sweep:
        await anext(sweep)
        for _ in range(2000):  # turns of the loop in which service and sweep could go on
            await anyio.lowlevel.checkpoint()

        assert sweep.summary.pages <= 5


@pytest.mark.usefixtures("caller")
async def test_iterating_without_entering_the_block_says_to_enter_it() -> None:
    async with nothing_left_behind():
        with pytest.raises(harvester.UsageError, match=r"async with harvester\.open_sweep"):
            async for _ in harvester.open_sweep(EVERYWHERE):
                pass
        with pytest.raises(RuntimeError, match="has to be entered first"):
            await anext(harvester.open_sweep(EVERYWHERE))


@pytest.mark.usefixtures("caller")
async def test_entering_a_sweep_twice_says_to_make_another() -> None:
    async with nothing_left_behind():
        async with harvester.open_sweep(EVERYWHERE) as sweep:
            with pytest.raises(harvester.UsageError, match="make another one"):
                await sweep.__aenter__()
            assert len([finding async for finding in sweep]) == 1500
        with pytest.raises(harvester.UsageError, match="make another one"):
            await sweep.__aenter__()
    assert sweep.summary.status == "complete"


def test_another_event_loop_than_asyncio_is_refused() -> None:
    async def enter() -> None:
        async with harvester.open_sweep(EVERYWHERE):
            raise AssertionError

    async def run() -> None:
        await harvester.run_sweep(EVERYWHERE)

    for use in (enter, run):
        with pytest.raises(harvester.UsageError, match="asyncio"):
            anyio.run(use, backend="trio")


@pytest.mark.usefixtures("caller")
async def test_the_summary_is_running_until_the_sweep_ends() -> None:
    async with nothing_left_behind(), harvester.open_sweep(EVERYWHERE) as sweep:
        await anext(sweep)
        summary = sweep.summary
        assert (summary.status, summary.finished_at, summary.problems) == ("running", None, ())
        async for _ in sweep:
            assert sweep.summary.status in ("running", "complete")
    assert sweep.summary.status == "complete"
    assert sweep.summary.finished_at


@pytest.mark.usefixtures("caller")
async def test_events_are_told_in_order_and_agree_with_the_summary() -> None:
    told: list[events.Event] = []
    async with nothing_left_behind(), harvester.open_sweep(EVERYWHERE, on_event=told.append) as one:
        findings = [finding async for finding in one]

    assert [told[0].name, told[-1].name] == ["sweep_started", "sweep_finished"]
    pages = [event for event in told if isinstance(event, events.PageRead)]
    requests = [event for event in told if isinstance(event, events.RequestSent)]
    ended = [event for event in told if isinstance(event, events.TargetFinished)]
    summary = one.summary
    assert sum(sum(page.severities.values()) for page in pages) == len(findings)
    assert (len(pages), len(requests)) == (summary.pages, summary.requests)
    assert Counter(event.outcome.status for event in ended) == {"complete": 6}
    for event in ended:
        target = f"{event.outcome.account}/{event.outcome.region}"
        about = [one.name for one in told if _target_of(one) == target]
        assert about[:2] == ["target_found", "target_started"]
        assert about[-1] == "target_finished"
    with pytest.raises(AttributeError):
        pages[0].pages = 7  # type: ignore[misc]  # events are frozen


def _target_of(event: events.Event) -> str:
    if isinstance(event, events.TargetFinished):
        return f"{event.outcome.account}/{event.outcome.region}"
    return str(getattr(event, "target", ""))


@pytest.mark.usefixtures("caller")
async def test_an_on_event_that_raises_is_dropped_with_a_log_record(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls: list[str] = []

    def fail(event: events.Event) -> None:
        calls.append(event.name)
        raise ValueError("a display that broke")

    async with nothing_left_behind(), harvester.open_sweep(EVERYWHERE, on_event=fail) as sweep:
        assert len([finding async for finding in sweep]) == 1500
    assert calls == ["sweep_started"]
    assert sweep.summary.status == "complete"
    (record,) = [one for one in caplog.records if "on_event raised" in one.getMessage()]
    assert record.levelname == "ERROR"


async def test_each_failed_target_is_logged_at_warning_and_raised_on_request(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = (logging.root.handlers[:], logging.root.level, logging.getLogger("harvester").level)
    denied = ORGANIZATION.accounts[1].id
    faults = Faults(denied_accounts=frozenset({denied}))
    async with Simulator(ORGANIZATION, faults=faults) as simulator:
        for name, value in simulator.environment().items():
            monkeypatch.setenv(name, value)
        async with harvester.open_sweep(EVERYWHERE) as sweep:
            async for _ in sweep:
                pass
    summary = sweep.summary
    warned = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert [(one.name, vars(one)["account"], vars(one)["event"]) for one in warned] == [
        ("harvester", denied, "target_finished")
    ]
    after = (logging.root.handlers[:], logging.root.level, logging.getLogger("harvester").level)
    assert before == after
    (problem,) = summary.problems
    assert problem.hint
    assert "--role-name" in problem.hint
    with pytest.raises(harvester.IncompleteError, match="partial") as caught:
        summary.raise_for_problems()
    assert caught.value.summary is summary
    assert denied in str(caught.value)


def _session_of(simulator: Simulator, region: str | None = "us-east-1") -> AioSession:
    variables = simulator.environment()
    session = AioSession()
    session.set_credentials(
        *(variables[f"AWS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")),
        variables.get("AWS_SESSION_TOKEN"),
    )
    if region is not None:
        session.set_config_variable("region", region)
    return session


async def test_two_tenants_sweep_in_one_process_with_sessions_of_their_own() -> None:
    spec = OrganizationSpec(accounts=2, regions=("us-east-1",), findings=300, seed=6)
    other = Organization.generate(spec)

    async def take(simulator: Simulator) -> Counter[str]:
        settings = _settings(
            regions={}, aws={"endpoint_url": simulator.url}, findings={"split": "none"}
        )
        session = _session_of(simulator)
        async with harvester.open_sweep(settings, session=session) as sweep:
            found = _multiset([finding async for finding in sweep])
        sweep.summary.raise_for_problems()
        return found

    async with Simulator(ORGANIZATION) as one, Simulator(other) as two:
        mine, theirs = await asyncio.gather(take(one), take(two))
    expected = [one for one in ORGANIZATION.expected() if ":us-east-1:" in json.dumps(one)]
    assert mine == _multiset(expected)
    assert theirs == _multiset(other.expected())


async def test_run_sweep_uses_the_credentials_of_a_session(tmp_path: Path) -> None:
    async with Simulator(ORGANIZATION) as simulator:
        settings = _settings(
            output={"path": f"{tmp_path}/out.ndjson"}, aws={"endpoint_url": simulator.url}
        )
        summary = await harvester.run_sweep(settings, session=_session_of(simulator))
    assert (summary.status, summary.findings) == ("complete", 1500)


async def test_a_session_without_credentials_and_one_that_fails_are_start_errors() -> None:
    class Failing(AioSession):  # type: ignore[misc]  # the SDK is untyped
        async def get_credentials(self) -> Any:
            raise ValueError("the secret is hunter2")

    empty = AioSession()
    empty.get_component("credential_provider").providers.clear()
    for session, reason in ((empty, "has no credentials"), (Failing(), "ValueError was raised")):
        async with nothing_left_behind():
            with pytest.raises(harvester.StartError, match=reason) as caught:
                await harvester.run_sweep(_here(), session=session)
        assert "hunter2" not in str(caught.value)


def test_a_session_beside_a_profile_in_the_settings_is_refused() -> None:
    settings = _settings(aws={"profile": "prod"})
    with pytest.raises(
        harvester.SettingsError, match=r"aws\.profile: 'prod' and the given session"
    ):
        harvester.open_sweep(settings, session=AioSession())


async def test_without_credentials_the_iteration_says_so() -> None:
    async with nothing_left_behind(), harvester.open_sweep(_here()) as sweep:
        with pytest.raises(harvester.StartError, match="no AWS credentials"):
            await anext(sweep)
        with pytest.raises(harvester.StartError, match="no AWS credentials"):
            await anext(sweep)

    assert sweep.summary.status == "failed"
    assert [problem.code for problem in sweep.summary.problems] == ["CredentialsError"]


async def test_without_a_region_the_iteration_says_so() -> None:
    async with nothing_left_behind(), harvester.open_sweep(harvester.Settings()) as sweep:
        with pytest.raises(harvester.SettingsError, match=r"regions\.include"):
            await anext(sweep)


def _here() -> harvester.Settings:
    return harvester.Settings(regions={"include": ["us-east-1"]})


async def test_wrong_settings_are_refused_at_once_and_cleanly() -> None:
    wrong = harvester.Settings(limits=LimitSettings(max_concurrency=0))
    async with nothing_left_behind():
        with pytest.raises(harvester.SettingsError, match="max_concurrency"):
            harvester.open_sweep(wrong)
        with pytest.raises(harvester.SettingsError, match="max_concurrency"):
            await harvester.run_sweep(wrong)


async def test_a_sweep_that_is_never_entered_leaves_no_warning() -> None:
    async with nothing_left_behind():
        sweep = harvester.open_sweep(_here())
        assert sweep.summary.status == "interrupted"
        del sweep


@pytest.mark.usefixtures("caller")
async def test_run_sweep_writes_and_returns_the_summary(tmp_path: Path) -> None:
    output = {"path": f"{tmp_path}/out.ndjson", "summary": f"{tmp_path}/summary.json"}
    settings = _settings(output=output)
    async with nothing_left_behind():
        summary = await harvester.run_sweep(settings)

    assert isinstance(summary, harvester.Summary)
    assert (summary.status, summary["status"]) == ("complete", "complete")
    assert summary["targets"]["total"] == summary.targets.total == 6
    assert dict(summary) == summary.as_dict()
    assert (tmp_path / "summary.json").read_bytes() == summary.as_json()
    lines = (tmp_path / "out.ndjson").read_bytes().splitlines()
    assert _multiset([json.loads(line) for line in lines]) == EXPECTED


@pytest.mark.usefixtures("caller")
async def test_a_cancelled_run_leaves_no_half_of_a_file(tmp_path: Path) -> None:
    rng = random.Random(3)
    path, summary = tmp_path / "out.ndjson", tmp_path / "summary.json"
    settings = _settings(output={"path": f"{path}", "summary": f"{summary}"})
    for _ in range(5):
        path.write_text("old\n")
        async with nothing_left_behind():
            with anyio.move_on_after(rng.uniform(0, 0.3)) as scope:
                await harvester.run_sweep(settings)
        status = json.loads(summary.read_text())["status"]
        whole = path.read_text().count("\n") == 1500
        assert path.read_text() == "old\n" or whole
        assert status == ("interrupted" if scope.cancelled_caught else "complete")
        # What a cancelled run has read is kept beside the file, for the next to go on with.
        left = {*os.listdir(tmp_path)} - {"out.ndjson", "summary.json"}  # noqa: PTH208
        assert left <= ({".out.ndjson.harvester"} if scope.cancelled_caught else set())


async def test_a_deadline_ends_a_sweep_of_an_application_that_uses_asyncio_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its timer calls back outside of any task, where anyio knows no library beside sniffio."""
    async with Simulator(ORGANIZATION, behaviour=Behaviour(latency=5.0)) as simulator:
        for name, value in simulator.environment().items():
            monkeypatch.setenv(name, value)
        settings = _settings(limits={"deadline": "0.2s"})
        async with harvester.open_sweep(settings) as sweep:
            assert [finding async for finding in sweep] == []
    assert sweep.summary.status == "interrupted"


def test_a_sweep_can_be_made_outside_of_an_event_loop() -> None:
    sweep = harvester.open_sweep(_here())

    async def enter() -> None:
        async with sweep:
            assert sweep.summary.status == "running"

    asyncio.run(enter())
    assert sweep.summary.status in ("interrupted", "failed")


def test_wrong_arguments_are_refused_with_advice() -> None:
    async def listen(_event: events.Event) -> None: ...

    wrong: Any
    for wrong in (listen, 42):
        with pytest.raises(harvester.UsageError, match="a plain function"):
            harvester.open_sweep(_here(), on_event=wrong)
    for wrong in ("default", botocore.session.Session()):
        with pytest.raises(harvester.UsageError, match="not an aiobotocore session"):
            harvester.open_sweep(_here(), session=wrong)
    for wrong in ({"accounts": {}}, "harvester.toml", None):
        with pytest.raises(harvester.SettingsError, match=r"load_settings\(FILE\)"):
            harvester.open_sweep(wrong)
