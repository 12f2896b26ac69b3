"""docs/reliability.md: each promise, the faults tried, how often, and the outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from harvester import __version__
from tests.torture.campaign import Results, too_many
from tests.torture.control import WAYS
from tests.torture.jobs import DESTINATIONS
from tests.torture.kills import HOW, SECONDS, Report
from tests.torture.moments import MOMENTS
from tests.torture.syscalls import ERRNOS, ERRORS, SIGNALS

_INTRODUCTION = """\
# What was tried, and what came of it

Written by `make torture` (version {version}, seed {seed}), not by hand: sweeps as processes, against
the simulator over HTTP, whose file system, power, tokens and neighbours fail. What each of the
promises of the README was held against, how often, and with what outcome.
"""

_SCENARIOS = {
    "nothing_is_different": "killed, and started again",
    "tokens_have_expired": "tokens have expired since the kill",
    "sessions_and_tokens_run_out_all_the_time": "roles' sessions and tokens that last a second or two, two kills",
    "findings_and_accounts_have_changed": "a new finding; an account that has left the organization",
    "a_pipeline_is_gone": "a pipeline was removed since the kill",
    "a_target_had_failed": "targets that were denied, or led in circles, before the kill",
    "a_target_was_cut": "killed while a cut target was read",
    "it_is_another_sweep": "another filter: refused with exit code 2, the key, the values and `--fresh`",
    "its_journal_is_old_or_of_another_version": "a journal of yesterday, or of another version",
    "another_run_holds_it": "three more runs at the same time: exit code 5 at once; a lock of a dead run",
    "deadlines_stop_it_again_and_again": "`--deadline` of one to two seconds, until it is done",
    "a_signal_comes_too_late": "SIGTERM when all has appeared: exit code 0, and nothing is left",
    "nothing_is_kept_for_stdout": "killed while it writes to stdout",
    "files_may_not_grow": "files limited to 0 to 300 KiB (RLIMIT_FSIZE), four sizes each time",
    "few_files_may_be_open": "24 to 48 files open at most (RLIMIT_NOFILE), four limits each time",
    "its_work_is_damaged": "journal or spool damaged, then resumed, four ways each time",
    "its_folder_is_a_link": "a symbolic link in the place of the work folder, or of a file in it",
    "its_folder_is_of_another_user": "the work folder belongs to another user",
    "the_disk_is_full": "a real disk (tmpfs) of 4 to 800 KiB, then with more room",
}
_ONCE = (
    "nothing_is_different",
    "tokens_have_expired",
    "sessions_and_tokens_run_out_all_the_time",
    "findings_and_accounts_have_changed",
    "a_pipeline_is_gone",
    "a_target_had_failed",
    "a_target_was_cut",
    "deadlines_stop_it_again_and_again",
    "a_signal_comes_too_late",
    "its_work_is_damaged",
)
_DISKS = ("the_disk_is_full", "files_may_not_grow", "few_files_may_be_open")
_OURS = (
    "it_is_another_sweep",
    "its_journal_is_old_or_of_another_version",
    "its_folder_is_a_link",
    "its_folder_is_of_another_user",
    "nothing_is_kept_for_stdout",
)

_DISK = "a failing disk is an error in one line, and the same command completes the sweep"

Row = Sequence[str]


def report(results: Results, seed: int) -> str:
    """Return the document."""
    parts = [_INTRODUCTION.format(version=__version__, seed=seed)]
    parts.append(_table(("promise", "faults tried", "how often", "outcome"), _promises(results)))
    if results.jobs:
        parts.append("## The kills\n")
        parts.append(_table(("moment", *HOW), _moments(results)))
        parts.append(_table(_OF_DESTINATIONS, _by_destination(results.jobs)))
        parts.append(_CALLS.format(seconds=SECONDS))
    if results.caught:
        parts.append(_CONTROL)
        parts.append(_table(_OF_CONTROLS, _controls(results)))
    if results.syscalls:
        parts.append("## Calls of the file system that failed, each in turn\n")
        parts.append(_table(("call", *ERRORS), _calls(results)))
    if wrong := results.wrong():
        parts.append("## What was wrong\n")
        parts.append("".join(f"- {one}\n" for one in wrong))
    return "\n".join(parts)


_OF_DESTINATIONS = ("destination", "sweeps", "kills", "lost", "doubled", "other bytes", "calls")
_OF_CONTROLS = ("what it does", "sweeps", "kills", "caught", "lost", "doubled")
_CALLS = """\
`calls` are those of all runs of these sweeps beyond an undisturbed run's, and what the kills
allow: the pages asked for in the {seconds:.0f} seconds before each kill, what a run needs to start,
and a count for each target.
"""
_CONTROL = """\
## The control

Sweeps that keep no journal, put through kills, and judged in the same way: were they not caught,
the checks would prove nothing.
"""


def _promises(results: Results) -> Iterator[Row]:
    jobs, kills = results.jobs, results.kills.total()
    once, whole = "each finding once, whatever kills the run", "a file appears whole, or not at all"
    if jobs:
        lost, doubled = sum(one.missing for one in jobs), sum(one.doubled for one in jobs)
        findings = sum(one.job.truth.total() for one in jobs)
        yield (
            once,
            "kill -9 and SIGTERM at random moments, every destination, resumed until done",
            f"{kills} kills, {len(jobs)} sweeps",
            f"{findings:,} findings: {lost} lost, {doubled} doubled",
        )
    yield from _tried(results, once, _ONCE)
    if jobs:
        looks, wrong = sum(one.looks for one in jobs), [w for one in jobs for w in one.wrong]
        partly = sum("not whole" in one for one in wrong)
        yield whole, "looked at after each kill", f"{looks} looks", f"{partly} in part"
        left = sum("left beside" in one for one in wrong)
        yield "nothing is left beside it", "the same sweeps", f"{len(jobs)}", f"{left} left any"
        bytes_ = sum("bytes" in one for one in wrong)
        yield (
            "the same findings give the same bytes",
            "the same sweeps, beside undisturbed ones",
            f"{len(jobs)}",
            f"{bytes_} differ",
        )
        more = sum(one.calls - one.undisturbed for one in jobs)
        allowed, over = sum(one.allowed for one in jobs), sum(map(too_many, jobs))
        a_kill = (
            f"{more / max(1, kills):.1f} calls more a kill, {allowed / max(1, kills):.1f} allowed"
        )
        yield (
            "a resume costs little",
            "calls of all runs, beside an undisturbed run's",
            f"{kills} kills",
            f"{a_kill}; {over} sweeps above what is allowed",
        )
        untrue = sum("journal" in one for one in wrong)
        yield (
            "what the journal says is in the spool",
            "read back after each kill",
            f"{looks}",
            f"{untrue} untrue",
        )
    if results.power:
        yield (
            "what the journal says is in the spool",
            "power cut before and after each sync: what was not synced is there, not, or in part",
            f"{results.power}",
            "all true",
        )
    tried = results.damage.tried
    if tried:
        yield (
            "a damaged journal is recognized and never guessed at",
            ", ".join(tried),
            f"{tried.total():,}",
            f"{_counts(results.damage.taken)}; {len(results.damage.wrong)} anything else",
        )
    yield from _of_calls(
        results, once, "SIGTERM or kill -9 before each call of the write path", SIGNALS
    )
    yield from _of_calls(results, _DISK, "each call of the write path fails in turn", ERRNOS)
    yield from _tried(results, _DISK, _DISKS)
    yield from _tried(results, "one run at a time", ("another_run_holds_it",))
    yield from _tried(results, "only what is ours, and of today, is gone on with", _OURS)


def _of_calls(results: Results, promise: str, what: str, errors: Sequence[str]) -> Iterator[Row]:
    """Yield what came of the runs that one kind of fault struck, at each call in turn."""
    if results.syscalls:
        every = results.syscalls.values()
        ends = sum((one.ends for one in every), Counter[tuple[str, int]]())
        codes = Counter[int]()
        for (error, code), number in ends.items():
            codes[code] += number * (error in errors)
        said = _counts({f"exit code {code}": codes[code] for code in sorted(+codes)})
        wrong = sum(
            f", {error} in " in line for one in every for line in one.wrong for error in errors
        )
        where = ", ".join(results.syscalls)
        yield promise, f"{what} ({where})", f"{codes.total()} runs", f"{said}; {wrong} wrong"


def _tried(results: Results, promise: str, names: Sequence[str]) -> Iterator[Row]:
    for name in names if results.tried else ():
        tried = results.tried.get(name)
        what = _SCENARIOS[name]
        if tried is None:
            yield promise, what, "0", "not tried: this system does not let it"
        else:
            outcome = f"{len(tried.wrong)} wrong" if tried.wrong else "as promised"
            yield promise, what, f"{tried.times}", outcome


def _counts(counts: Counter[str] | dict[str, int]) -> str:
    return ", ".join(f"{name}: {number:,}" for name, number in counts.items())


def _moments(results: Results) -> Iterator[Row]:
    for moment in MOMENTS:
        yield moment, *(f"{results.kills[moment, how]}" for how in HOW)


def _by_destination(jobs: Sequence[Report]) -> Iterator[Row]:
    for destination in DESTINATIONS:
        some = [one for one in jobs if one.job.destination == destination]
        bytes_ = sum("bytes" in what for one in some for what in one.wrong)
        more = sum(one.calls - one.undisturbed for one in some)
        yield (
            destination,
            f"{len(some)}",
            f"{sum(one.kills.total() for one in some)}",
            f"{sum(one.missing for one in some)}",
            f"{sum(one.doubled for one in some)}",
            f"{bytes_}",
            f"{more:+} of {sum(one.allowed for one in some)}",
        )


def _controls(results: Results) -> Iterator[Row]:
    for way, what in WAYS.items():
        some = [one for one in results.caught if one.way == way]
        yield (
            what,
            f"{len(some)}",
            f"{sum(one.kills for one in some)}",
            f"{sum(bool(one.missing or one.doubled) for one in some)}",
            f"{sum(one.missing for one in some):,}",
            f"{sum(one.doubled for one in some):,}",
        )
    yield (
        "starts over each time (`--fresh`): too many calls",
        f"{len(results.over)}",
        f"{sum(one.kills.total() for one in results.over)}",
        f"{sum(map(too_many, results.over))}",
        "0",
        "0",
    )


def _calls(results: Results) -> Iterator[Row]:
    struck = sum((one.struck for one in results.syscalls.values()), Counter[tuple[str, str]]())
    for name in sorted({name for name, _ in struck}):
        yield name, *(f"{struck[name, error]}" for error in ERRORS)


def _table(head: Row, rows: Iterator[Row]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
