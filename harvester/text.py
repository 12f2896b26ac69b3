"""Text that others wrote, made safe to show: no control sequences, one line, a bounded length."""

from __future__ import annotations

import unicodedata

# Cc: control, Cf: format (bidirectional overrides, zero width), Cs: lone surrogates,
# Co: private use, Zl and Zp: line and paragraph separators.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def printable(text: str, limit: int = 500) -> str:
    """Return `text` on one line, without what a terminal would obey, cut at `limit` characters."""
    if not text.isprintable():
        text = "".join(" " if unicodedata.category(c) in _HIDDEN else c for c in text)
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def redact(text: str, secrets: tuple[str | None, ...]) -> str:
    """Return `text` with each of `secrets` replaced by `***`.

    Services quote what they were sent: a signature error may hold the session token, an
    AssumeRole error the external id.
    """
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text
