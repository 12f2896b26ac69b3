"""Asking for an MFA code at a terminal."""

from __future__ import annotations

import os
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from harvester.aws.program import attended
from harvester.errors import CredentialsError, HarvesterError
from harvester.text import printable

_PROMPT = "Enter MFA code for "


class CodeNeededError(HarvesterError):
    """A role needs an MFA code before its credentials can be loaded.

    Attributes:
        device: the serial number or ARN of the MFA device.
    """

    def __init__(self, device: str) -> None:
        super().__init__(f"an MFA code of {device} is needed")
        self.device = device


class Codes:
    """The codes of one load, each good for one call.

    Args:
        ask: whether somebody may be asked for codes that are not known.
    """

    def __init__(self, *, ask: bool) -> None:
        self._ask = ask
        self._known: dict[str, str] = {}

    def prompt(self, profile: str, prompt: str) -> str:
        """Return the code that the SDK prompts for.

        Raises:
            CodeNeededError: it is not known, and may be asked for.
            CredentialsError: there is nobody to ask.
        """
        device = printable(prompt.removeprefix(_PROMPT).rstrip(": "))
        if device in self._known:
            return self._known.pop(device)
        if self._ask and attended() and sys.stderr.isatty():
            raise CodeNeededError(device)
        raise CredentialsError(
            f"it needs an MFA code ({device}), "
            + ("and there is no terminal to ask at" if self._ask else "and its session is over"),
            hint=f'run eval "$(aws configure export-credentials --profile {profile} --format env)" '
            "first, then harvester without --profile",
        )

    async def ask(self, device: str) -> None:
        """Ask for the code of a device at the terminal, and remember it for one call."""
        descriptor = sys.stdin.fileno()
        sys.stderr.write(f"{_PROMPT}{device}:\n")
        sys.stderr.flush()
        with _without_echo(descriptor):
            await anyio.wait_readable(descriptor)
            line = os.read(descriptor, 1024)
        code = line.decode("ascii", "replace").strip()
        if not code:
            raise CredentialsError(f"no MFA code of {device} was given")
        self._known[device] = code


@contextmanager
def _without_echo(descriptor: int) -> Iterator[None]:
    before = termios.tcgetattr(descriptor)
    silent = [*before]
    silent[3] = before[3] & ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
