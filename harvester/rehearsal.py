"""`harvester simulate`: an AWS on loopback to rehearse settings against."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any, cast

import anyio

from harvester.errors import SettingsError, StartError
from harvester.rehearsal_options import KNOBS, Knob
from harvester.settings import parse_duration
from harvester.signals import Signals
from harvester.simulator import (
    EVERYWHERE,
    Behaviour,
    Dark,
    DarkKind,
    Faults,
    Organization,
    OrganizationSpec,
    Place,
    Simulator,
)
from harvester.text import printable

_LAST_PORT = 65535


def simulate_command(
    given: Mapping[str, Any],
    *,
    faults: Sequence[str],
    port: str,
    lasting: str | None,
    signals: Signals,
) -> int:
    """Serve until a signal or the time is over, and return the exit code."""
    parts = _parts(given)
    parts["faults"].update(_rates(faults))
    seconds = _seconds(lasting)
    try:
        organization = Organization.generate(OrganizationSpec(**parts["spec"]))
        behaviour = Behaviour(**parts["behaviour"])
    except ValueError as error:
        raise SettingsError(f"harvester simulate: {printable(str(error))}") from error
    simulator = Simulator(
        organization,
        behaviour=behaviour,
        faults=Faults(**parts["faults"]),
        port=_port(port),
        keep_requests=False,
    )
    return anyio.run(_serve, simulator, seconds, signals)


async def _serve(simulator: Simulator, seconds: float | None, signals: Signals) -> int:
    try:
        async with simulator:
            with (
                anyio.move_on_after(seconds) as scope,
                signals.stopping(lambda _: scope.cancel()),
            ):
                _announce(simulator)
                await anyio.sleep_forever()
    except OSError as error:
        raise StartError(
            f"port {simulator.port} cannot be used: {error.strerror}",
            hint="give another --port; 0 takes any free one",
        ) from error
    return 0


def _announce(simulator: Simulator) -> None:
    """Print the variables for a shell, so that `eval` or a copy makes it a caller."""
    for name, value in simulator.environment().items():
        print(f"export {name}={shlex.quote(value)}")  # noqa: T201  # this is its output
    sys.stdout.flush()
    organization = simulator.organization
    active = sum(account.status == "ACTIVE" for account in organization.accounts)
    print(  # noqa: T201
        f"# {len(organization.accounts)} accounts, {active} of them active, "
        f"{len(organization.regions)} regions. In another shell, with these variables:\n"
        "#   harvester sweep --organization --role-name Harvester --region all --output out/\n"
        "# Ctrl-C ends it.",
        file=sys.stderr,
        flush=True,
    )


def _parts(given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    parts: dict[str, dict[str, Any]] = {"spec": {}, "behaviour": {}, "faults": {}}
    for knob in KNOBS:
        value = given[knob.parameter]
        if value is not None and value != ():
            parts[knob.part][knob.field] = _checked(knob, value)
    return parts


def _checked(knob: Knob, value: Any) -> Any:
    if knob.kind == "texts":
        return tuple(value) if knob.part == "spec" else frozenset(value)
    if knob.kind == "places":
        return frozenset(_place(text) for text in value)
    if knob.kind == "darks":
        return tuple(_dark(knob, text) for text in value)
    if knob.kind == "offsets":
        return dict(_offset(knob, text) for text in value)
    if knob.kind in ("text", "flag"):
        return value
    return _number(knob, value)


def _number(knob: Knob, text: str) -> int | float:
    allowed = {"count": "a whole number from 0", "share": "a number from 0 to 1"}
    try:
        number: int | float = int(text) if knob.kind == "count" else float(text)
    except ValueError:
        number = -1
    if not (0 <= number < float("inf")) or (knob.kind == "share" and number > 1):
        raise SettingsError(
            f"{knob.flag}: {printable(text, 80)!r} is not "
            f"{allowed.get(knob.kind, 'a number from 0')}"
        )
    return number


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > _LAST_PORT:
        raise SettingsError(f"--port: {printable(text, 80)!r} is not a port: 0 to {_LAST_PORT}")
    return int(text)


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else parse_duration(text)
    except SettingsError as error:
        raise SettingsError(f"--for: {error}") from error


def _place(text: str) -> Place:
    account, slash, region = text.partition("/")
    return (account, region) if slash else account


def _dark(knob: Knob, text: str) -> Dark:
    kind, _, where = text.partition("=")
    service, _, place = where.rpartition(":")
    if not place:
        raise SettingsError(f"{knob.flag}: {printable(text, 80)!r} is not KIND=[SERVICE:]PLACE")
    try:
        return Dark(cast("DarkKind", kind), _place(place), service or "imagebuilder")
    except ValueError as error:
        raise SettingsError(f"{knob.flag}: {printable(str(error))}") from error


def _offset(knob: Knob, text: str) -> tuple[Place, int]:
    place, _, number = text.rpartition("=")
    try:
        return _place(place or EVERYWHERE), int(number)
    except ValueError as error:
        shown = printable(text, 80)
        raise SettingsError(f"{knob.flag}: {shown!r} is not [PLACE=]N, N a whole number") from error


def _rates(pairs: Sequence[str]) -> dict[str, float]:
    """Return the faults' rates from NAME=RATE; `all` is every transient one."""
    names = Faults.transient()
    rates: dict[str, float] = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        rate = _number(Knob(f"--fault {printable(name, 40)}", "faults", name, "share", ""), text)
        if name != "all" and name not in names:
            raise SettingsError(
                f"--fault: {printable(name, 80)!r} is not one of all, {', '.join(names)}"
            )
        rates.update(dict.fromkeys(names if name == "all" else (name,), rate))
    return rates
