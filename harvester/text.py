"""Text that others wrote, made safe to show: no control sequences, one line, no secret in it."""

from __future__ import annotations

import base64
import html
import json
import re
import unicodedata
from urllib.parse import quote, quote_plus

# Cc: control, Cf: format (bidirectional overrides, zero width), Cs: lone surrogates,
# Co: private use, Zl and Zp: line and paragraph separators.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})

# Of a request: what was computed from the secret key, however the name before it is spelt.
_SIGNATURE = re.compile(r"(signature(?:%3d|%22|%3a|&quot;|\W){1,8})[0-9a-f]{64}", re.IGNORECASE)
# Of a URL: the user and password before the host.
_USERINFO = re.compile(r"(?<=://)[^\s/?#@]*@")

_PLAIN = re.compile(r"[A-Za-z0-9]+")
_URL_SAFE = str.maketrans("+/", "-_")


class Secret(str):
    """A key, a token or an external id: in a repr it is `***`.

    So it stays out of what shows values as they are: tracebacks with local variables,
    debuggers, the reprs of whatever holds it.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def printable(text: str, limit: int = 500) -> str:
    """Return `text` on one line, without what a terminal would obey, cut at `limit` characters."""
    if not text.isprintable():
        text = "".join(" " if unicodedata.category(c) in _HIDDEN else c for c in text)
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def redact(text: str, secrets: tuple[str | None, ...] = ()) -> str:
    """Return `text` with each of `secrets` replaced by `***`, in every form a service may quote.

    Services quote what they were sent: a signature error may hold the session token, an
    AssumeRole error the external id, percent-encoded as it was in the body. Signatures and
    the credentials in URLs are replaced as well, without being known.
    """
    for secret in secrets:
        if secret and _may_hold(text, secret):
            text = _any_form(secret).sub("***", text)
    return _USERINFO.sub("***@", _SIGNATURE.sub(r"\1***", text))


def _may_hold(text: str, secret: str) -> bool:
    """Whether a text can hold a secret in any form: a quick look, since few texts do."""
    # Every form but base64 leaves letters and digits as they are.
    return any(
        max(_PLAIN.findall(form), key=len, default="") in text for form in (secret, _base64(secret))
    )


def _base64(secret: str) -> str:
    return base64.b64encode(secret.encode("utf-8", "surrogatepass")).decode("ascii").rstrip("=")


def _any_form(secret: str) -> re.Pattern[str]:
    plain = str(secret)
    encoded = plain.encode("utf-8", "surrogatepass")
    exact = {
        plain,
        json.dumps(plain)[1:-1],
        repr(plain)[1:-1],
        html.escape(plain),
        _base64(plain),
        _base64(plain).translate(_URL_SAFE),
    }
    # The digits of an escape may be in either case.
    percent = {quote(encoded, safe=""), quote(encoded), quote_plus(encoded)}
    parts = [re.escape(form) for form in sorted(exact, key=len, reverse=True)]
    parts += [f"(?i:{re.escape(form)})" for form in sorted(percent, key=len, reverse=True)]
    return re.compile("|".join(parts))
