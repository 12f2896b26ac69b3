"""The summary of a sweep, and a plan, as readable tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harvester.model import Outcome, Query, Target
from harvester.summary import Problem, Summary
from harvester.text import printable

_STYLES = {"complete": "bold green", "partial": "bold yellow"}
_ORDER = ("CRITICAL", "HIGH", "MEDIUM", "LOW", "INFORMATIONAL", "UNTRIAGED")
_PROBLEMS_SHOWN = 20
_SLOW_SECONDS = 1.0


def print_summary(
    summary: Summary,
    *,
    severities: Counter[str],
    slowest: Sequence[Outcome],
    seconds: float,
    destination: str,
) -> None:
    """Print on stderr what a sweep did, what went wrong, and what to do about it."""
    console = Console(stderr=True, highlight=False)
    console.print(_headline(summary, seconds, destination))
    if severities.total():
        console.print(_indented(_severity_table(severities)))
    slow = [one for one in slowest if one.region and one.seconds >= _SLOW_SECONDS]
    if slow:
        console.print(Text("Slowest targets", "bold"))
        console.print(_indented(_slow_table(slow)))
    if summary.problems:
        console.print(Text("Not complete", "bold"))
        for problem in summary.problems[:_PROBLEMS_SHOWN]:
            console.print(_indented(problem_text(problem)))
        more = len(summary.problems) - _PROBLEMS_SHOWN
        if more > 0:
            console.print(_indented(Text(f"… and {more:,} more: --summary FILE names them all")))


def problem_text(problem: Problem) -> Text:
    """Return a problem and what to do about it, in one or two lines."""
    where = problem.where
    text = Text.assemble(
        ("✗ ", "red"),
        (where or "the sweep", "bold"),
        f" {problem.status} at {problem.stage}: {problem.code}: {printable(problem.message, 300)}",
    )
    return text.append(f"\n  → {problem.hint}", "cyan") if problem.hint else text


def print_plan(plans: Mapping[Target, Sequence[Query]]) -> None:
    """Print accounts, regions and queries on stdout, as a table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("account", "region", "queries"):
        table.add_column(heading, no_wrap=heading != "queries")
    for target in sorted(plans):
        for number, query in enumerate(plans[target] or (None,)):
            first = (target.account, target.region) if number == 0 else ("", "")
            table.add_row(*first, Text(_described(query)))
    Console(highlight=False).print(table)


def _described(query: Query | None) -> str:
    if query is None:
        return "none: no pipeline matches"
    rest = "".join(f", {one.name} in {'|'.join(one.values)}" for one in query.conditions)
    return printable(f"{query}{rest}")


def _headline(summary: Summary, seconds: float, destination: str) -> Text:
    targets = summary.targets
    parts = [
        f"{getattr(targets, name):,} {name}"
        for name in ("complete", "incomplete", "failed", "stale", "skipped")
        if getattr(targets, name)
    ]
    return Text.assemble(
        (summary.status.upper(), _STYLES.get(summary.status, "bold red")),
        f"  {summary.findings:,} findings → {printable(destination)} in {seconds:,.1f} s\n",
        f"  targets: {targets.total:,} ({', '.join(parts) or 'none'})\n",
        f"  {summary.pages:,} pages, {summary.requests:,} requests, "
        f"{summary.throttled:,} throttled, {summary.retries:,} retries",
    )


def _severity_table(severities: Counter[str]) -> Table:
    table = Table.grid(padding=(0, 2))
    known = [name for name in _ORDER if severities[name]]
    for name in known + sorted(set(severities) - set(_ORDER)):
        if severities[name]:
            table.add_row(Text(printable(name, 40) or "(none)"), Text(f"{severities[name]:,}"))
    table.columns[-1].justify = "right"
    return table


def _slow_table(outcomes: Sequence[Outcome]) -> Table:
    table = Table.grid(padding=(0, 2))
    for one in outcomes:
        table.add_row(one.where, f"{one.seconds:,.1f} s", f"{one.findings:,} findings", one.status)
    return table


def _indented(renderable: RenderableType) -> Padding:
    return Padding(renderable, (0, 0, 0, 2))
