"""The summary of a sweep, and a plan, as readable tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harvester.model import Outcome, Query, Target
from harvester.summary import Problem, Summary
from harvester.terminal.grouping import same_cause
from harvester.text import printable

_STYLES = {"complete": "bold green", "partial": "bold yellow"}
_ORDER = ("CRITICAL", "HIGH", "MEDIUM", "LOW", "INFORMATIONAL", "UNTRIAGED")
_CAUSES_SHOWN = 20
_NAMES_SHOWN = 5
_SLOW_SECONDS = 1.0


def print_summary(
    summary: Summary,
    *,
    slowest: Sequence[Outcome],
    destination: str,
    resume_within: str | None = None,
) -> None:
    """Print on stderr what a sweep did, what went wrong, and what to do about it.

    Args:
        summary: what is printed.
        slowest: the slowest targets.
        destination: where the findings are.
        resume_within: how long the same command can resume it, None where it cannot.
    """
    console = Console(stderr=True, highlight=False)
    console.print(_headline(summary, destination))
    if summary.by_severity:
        console.print(_indented(_severity_table(summary.by_severity)))
    slow = [one for one in slowest if one.region and one.seconds >= _SLOW_SECONDS]
    slow = [one for one in slow if one.stage != "sweep"]  # those were cut short
    if slow:
        console.print(Text("Slowest targets", "bold"))
        console.print(_indented(_slow_table(slow)))
    causes = _causes(summary.problems)
    if causes:
        console.print(Text("Not complete", "bold"))
        for problem, *others in causes[:_CAUSES_SHOWN]:
            console.print(_indented(problem_text(problem)))
            if others:
                console.print(_indented(Text(f"  {_more(others)}")))
        more = len(causes) - _CAUSES_SHOWN
        if more > 0:
            console.print(
                _indented(Text(f"… and {more:,} more causes: --summary FILE names all targets"))
            )
    if resume_within is not None and summary.status in ("interrupted", "failed"):
        advice = f"The same command resumes this sweep within {resume_within}"
        console.print(Text(f"{advice}; --fresh starts over."))


def _causes(problems: Sequence[Problem]) -> list[list[Problem]]:
    """Return the problems, those with equal causes together."""
    groups: dict[tuple[str, ...], list[Problem]] = {}
    for one in problems:
        key = (one.status, one.stage, one.code, same_cause(one.message))
        groups.setdefault(key, []).append(one)
    return list(groups.values())


def _more(problems: Sequence[Problem]) -> str:
    names = ", ".join(printable(one.where, 80) for one in problems[:_NAMES_SHOWN])
    rest = ", …" if len(problems) > _NAMES_SHOWN else ""
    noun = "target" if problems[0].region else "account"
    return f"and {len(problems):,} more {noun}{'' if len(problems) == 1 else 's'}: {names}{rest}"


def problem_text(problem: Problem) -> Text:
    """Return a problem and what to do about it, in one or two lines."""
    where = problem.where
    text = Text.assemble(
        ("✗ ", "red"),
        (where or "the sweep", "bold"),
        f" {problem.status} at {problem.stage}: {problem.code}: {printable(problem.message, 300)}",
    )
    return text.append(f"\n  → {problem.hint}", "cyan") if problem.hint else text


def print_plan(plans: Mapping[Target, Sequence[Query]], names: Mapping[str, str]) -> None:
    """Print accounts with their names, regions and queries on stdout, as a table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("account", "name", "region", "queries"):
        table.add_column(heading, no_wrap=heading in ("account", "region"), overflow="fold")
    for target in sorted(plans):
        name = Text(printable(names.get(target.account, ""), 80))
        for number, query in enumerate(plans[target] or (None,)):
            first = (target.account, name, target.region) if number == 0 else ("", "", "")
            table.add_row(*first, Text(_described(query)))
    Console(highlight=False).print(table)


def _described(query: Query | None) -> str:
    if query is None:
        return "none: no pipeline matches"
    rest = "".join(f", {one.name} in {'|'.join(one.values)}" for one in query.conditions)
    return printable(f"{query}{rest}")


def _headline(summary: Summary, destination: str) -> Text:
    targets = summary.targets
    parts = [
        f"{getattr(targets, name):,} {name}"
        for name in ("complete", "incomplete", "failed", "stale", "skipped")
        if getattr(targets, name)
    ]
    return Text.assemble(
        (summary.status.upper(), _STYLES.get(summary.status, "bold red")),
        f"  {summary.findings:,} findings → {printable(destination)} in {summary.seconds:,.1f} s\n",
        f"  targets: {targets.total:,} ({', '.join(parts) or 'none'})\n",
        f"  {summary.pages:,} pages, {summary.requests:,} requests, "
        f"{summary.throttled:,} throttled, {summary.retries:,} retries",
    )


def _severity_table(severities: Mapping[str, int]) -> Table:
    table = Table.grid(padding=(0, 2))
    known = [name for name in _ORDER if severities.get(name)]
    for name in known + sorted(set(severities) - set(_ORDER)):
        if severities[name]:
            table.add_row(Text(printable(name, 40) or "(none)"), Text(f"{severities[name]:,}"))
    table.columns[-1].justify = "right"
    return table


def _slow_table(outcomes: Sequence[Outcome]) -> Table:
    table = Table.grid(padding=(0, 2))
    for one in outcomes:
        table.add_row(
            Text(printable(one.where, 80)),
            f"{one.seconds:,.1f} s",
            f"{one.findings:,} findings",
            one.status,
        )
    return table


def _indented(renderable: RenderableType) -> Padding:
    return Padding(renderable, (0, 0, 0, 2))
