"""Proxies between this machine and AWS: which of them can be used, and what their errors say."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from botocore.exceptions import ProxyConnectionError

from harvester import errors
from harvester.errors import SettingsError
from harvester.settings.values import shown

UNREACHABLE = "ProxyUnreachable"
REFUSED = "ProxyRefused"
LOGIN_REQUIRED = "ProxyAuthenticationRequired"

LOGIN_STATUS = 407
_SERVER_ERROR = 500
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")


class ProxyStatusError(Exception):
    """An answer that came from the proxy itself; `status` is its HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


def check_proxy(value: str, scheme: str) -> None:
    """Raise SettingsError for a proxy that requests cannot be sent through.

    Args:
        value: the proxy as the variable has it, with or without a scheme.
        scheme: that of the requests: http or https.
    """
    fault = _fault(value)
    if fault is not None:
        raise SettingsError(
            f"{variable_of(scheme)}: {shown(without_password(value))} {fault}; allowed is "
            "http://HOST:PORT, and NO_PROXY names hosts that need no proxy"
        )


def variable_of(scheme: str) -> str:
    """Return the variable that sets the proxy for requests of a scheme."""
    names = (f"{scheme}_proxy", f"{scheme}_proxy".upper())
    return next((name for name in names if os.environ.get(name)), names[1])


def without_password(url: str) -> str:
    """Return a proxy's URL, or what should have been one, without user and password."""
    scheme = _SCHEME.match(url)
    start = scheme.end() if scheme else 0
    host = url[start:]
    if "@" in host:
        # Whatever stands before the last @ may be a password, slashes in it as well.
        host = host.rpartition("@")[2]
    return url[:start] + host


def read_proxy_error(error: ProxyConnectionError) -> tuple[type[errors.ServiceError], str, str]:
    """Return the kind, code and message of our own error for one of the way to a proxy."""
    url = without_password(str(error.kwargs.get("proxy_url", "")))
    proxy = f"the proxy {url} ({_variable_for(url)})"
    cause = error.kwargs.get("error")
    status = getattr(cause, "status", None)
    if status == LOGIN_STATUS:
        return errors.RefusedError, LOGIN_REQUIRED, f"{proxy} asks for a user and password (407)"
    if isinstance(status, int):
        kind = errors.TransientError if status >= _SERVER_ERROR else errors.RefusedError
        return kind, REFUSED, f"{proxy} does not connect to this host: status {status}"
    reason = getattr(cause, "strerror", None) or str(cause) or "no connection"
    return errors.UnreachableError, UNREACHABLE, f"{proxy} cannot be reached: {reason}"


def _variable_for(url: str) -> str:
    """Return the variable that has a proxy's URL, given without its password."""
    for scheme in ("https", "http"):
        name = variable_of(scheme)
        if _host(without_password(os.environ.get(name, ""))) == _host(url):
            return name
    return variable_of("https")


def _host(url: str) -> str:
    return url.rpartition("//")[2].rstrip("/")


def _fault(value: str) -> str | None:
    url = value if _SCHEME.match(value) else f"http://{value.removeprefix('//')}"
    try:
        parts = urlsplit(url)
        good = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return "is not the URL of a proxy"
    if parts.scheme.startswith("socks"):
        return "is a SOCKS proxy, which is not supported"
    if parts.scheme not in ("http", "https") or not good or " " in url:
        return "is not the URL of a proxy"
    return None
