"""Text that others wrote, shown and logged: one clean line, and no secret of the SDK's."""

from __future__ import annotations

import io
import json
import logging
import sys
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.settings import LogSettings
from harvester.terminal.logs import configure_logs
from harvester.text import printable, redact

_ANY = st.text(st.characters(exclude_categories=()))
_SDK = ("botocore", "botocore.auth", "aiobotocore.credentials", "urllib3", "aiohttp.client")
_NAMES = ("", "harvester", "py.warnings", *_SDK, *(name.partition(".")[0] for name in _SDK))


@given(_ANY, st.integers(1, 60))
def test_printable_is_one_harmless_line(text: str, limit: int) -> None:
    shown = printable(text, limit)

    assert len(shown) <= limit
    shown.encode("utf-8")
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    assert shown == " ".join(shown.split())
    assert printable(shown, limit) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain text, unchanged: Ünïcode 漏洞 🔒", "plain text, unchanged: Ünïcode 漏洞 🔒"),
        ("a\x1b[31mred\x1b[0m", "a [31mred [0m"),
        ("one\r\ntwo\tthree", "one two three"),
        ("\x1b]0;title\x07", "]0;title"),
        ("\x9b2J", "2J"),
        ("abc\u202edef\u2066", "abc def"),
        ("a\u200bb\ufeff", "a b"),
        ("\ud800", ""),
        ("\u2028line\u2029", "line"),
        ("x" * 501, "x" * 499 + "…"),
        ("x" * 500, "x" * 500),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_redact() -> None:
    assert redact("key=abc, token=xyz, abc", ("abc", None, "", "xyz")) == "key=***, token=***, ***"
    assert redact("nothing", ()) == "nothing"


@contextmanager
def _logs(level: str = "info", kind: str = "text") -> Iterator[io.StringIO]:
    """What the logs write to stderr; afterwards, logging is as it was before."""
    root, stream = logging.getLogger(), io.StringIO()
    handlers, levels = root.handlers[:], {n: logging.getLogger(n).level for n in _NAMES}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        try:
            configure_logs(LogSettings(level=level, format=kind))  # type: ignore[arg-type]
            yield stream
        finally:
            logging.captureWarnings(False)
            root.handlers[:] = handlers
            for name, before in levels.items():
                logging.getLogger(name).setLevel(before)


@pytest.mark.parametrize("level", ["error", "warning", "info", "debug", "trace"])
@pytest.mark.parametrize("name", _SDK)
def test_the_debug_logs_of_the_sdk_never_pass(level: str, name: str) -> None:
    with _logs(level) as stderr:
        logger = logging.getLogger(name)
        logger.debug("secret key")
        logger.info("an info")
        assert not logger.isEnabledFor(logging.DEBUG)

    assert "secret" not in stderr.getvalue()
    assert ("an info" in stderr.getvalue()) == (level == "trace")


@pytest.mark.parametrize("before", [True, False], ids=["set before", "set after"])
def test_nor_do_they_where_somebody_else_set_a_level(*, before: bool) -> None:
    name = "botocore.auth"
    if before:
        logging.getLogger(name).setLevel(logging.DEBUG)
    with _logs("trace") as stderr:
        if not before:
            logging.getLogger(name).setLevel(logging.DEBUG)
        logging.getLogger(name).debug("secret key")
        logging.getLogger(name).info("an info")
        assert logging.getLogger(name).isEnabledFor(logging.DEBUG) != before

    logging.getLogger(name).setLevel(logging.NOTSET)
    assert "secret" not in stderr.getvalue()
    assert "an info" in stderr.getvalue()


@pytest.mark.parametrize("kind", ["json", "text"])
def test_tracebacks_of_the_sdk_never_pass(kind: str) -> None:
    with _logs("trace", kind) as stderr:
        try:
            raise ValueError("secret key")  # noqa: TRY301  # what the service quoted, say
        except ValueError:
            logging.getLogger("botocore.credentials").warning("no refresh", exc_info=True)

    assert "no refresh" in stderr.getvalue()
    assert "secret" not in stderr.getvalue()
    assert "ValueError" not in stderr.getvalue()


@pytest.mark.parametrize("kind", ["json", "text"])
def test_signatures_and_passwords_in_addresses_never_pass(kind: str) -> None:
    with _logs(kind=kind) as stderr:
        digest = "0123456789abcdef" * 4
        logging.getLogger("harvester").warning(
            "no: Signature=%s via %s", digest, "http://me:secret@proxy",
            extra={"data": ["http://me:secret@h", "\x1b[2J"]},
        )  # fmt: skip

    assert digest not in stderr.getvalue()
    assert "secret" not in stderr.getvalue()
    assert "\x1b" not in stderr.getvalue()
    assert "http://***@proxy" in stderr.getvalue()


@pytest.mark.parametrize(
    ("level", "expected"),
    [("error", "E"), ("warning", "EW"), ("info", "EWI"), ("debug", "EWID"), ("trace", "EWID")],
)
def test_levels(level: str, expected: str) -> None:
    with _logs(level) as stderr:
        logger = logging.getLogger("harvester")
        logger.error("E")
        logger.warning("W")
        logger.info("I")
        logger.debug("D")

    assert "".join(line[-1] for line in stderr.getvalue().splitlines()) == expected


@given(_ANY, st.dictionaries(st.sampled_from(("account", "region", "hint")), _ANY | st.integers()))
@pytest.mark.parametrize("kind", ["json", "text"])
def test_every_log_is_one_harmless_line(kind: str, text: str, extra: dict[str, Any]) -> None:
    with _logs(kind=kind) as stderr:
        logging.getLogger("harvester").warning("%s", text, extra=extra)

    line = stderr.getvalue()
    assert line.endswith("\n")
    assert line.count("\n") == 1
    line.encode("utf-8")
    assert not {unicodedata.category(c) for c in line[:-1]} & {"Cc", "Cs", "Zl", "Zp"}
    if kind == "json":
        entry = json.loads(line)
        assert entry["message"] == printable(text, 2000)
        assert entry["level"] == "warning"
        assert {key: entry[key] for key in extra if isinstance(extra[key], int)} == {
            key: value for key, value in extra.items() if isinstance(value, int)
        }


@pytest.mark.parametrize("kind", ["json", "text"])
def test_a_traceback_is_one_line_too(kind: str) -> None:
    with _logs(kind=kind) as stderr:
        try:
            raise ValueError("a defect\n\x1b[2J")  # noqa: TRY301  # the line it is about
        except ValueError:
            logging.getLogger("harvester").exception("failed")

    line = stderr.getvalue()
    assert line.count("\n") == 1
    assert "ValueError" in line
    assert "\x1b" not in line


@pytest.mark.filterwarnings("always")
def test_warnings_are_logged() -> None:
    with _logs(kind="json") as stderr:
        warnings.warn("careful", stacklevel=1)

    (entry,) = [json.loads(line) for line in stderr.getvalue().splitlines()]
    assert "careful" in entry["message"]
    assert entry["event"] == "python_warning"
    assert entry["level"] == "warning"
