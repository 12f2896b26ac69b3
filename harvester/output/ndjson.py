"""Findings to lines: UTF-8, one JSON object a line, every line ends in a newline."""

from __future__ import annotations

import json
from collections.abc import Iterable

import orjson

from harvester.errors import DamagedAnswerError
from harvester.model import Finding


def encode_lines(findings: Iterable[Finding]) -> bytes:
    """Return the findings as lines of NDJSON."""
    return b"".join([encode_line(finding) for finding in findings])


def encode_line(finding: Finding) -> bytes:
    """Return one finding as one line.

    Integers beyond 64 bits and lone surrogates, which orjson refuses, go the standard
    library's way: ASCII only, the surrogates escaped as they came.

    Raises:
        DamagedAnswerError: it is nested hundreds of levels deep, as no finding is.
    """
    try:
        return orjson.dumps(finding, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:
        try:
            text = json.dumps(finding, allow_nan=False, separators=(",", ":"))
        except RecursionError:
            raise DamagedAnswerError(
                "DamagedAnswer",
                "a finding is nested too deep to be written",
                operation="ListImageScanFindings",
            ) from None
        return text.encode("ascii") + b"\n"
