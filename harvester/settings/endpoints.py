"""Which endpoints requests may be sent to, wherever their addresses come from."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from harvester.errors import SettingsError
from harvester.settings.values import shown

_USERINFO = re.compile(r"(?<=://)[^/?#]*@")
# Readers of URLs do not agree on what these mean, and a host has none of them.
_UNCLEAR = re.compile(r"[\x00-\x20\x7f\\]")


def check_endpoint(name: str, url: str, *, allow_insecure: bool) -> None:
    """Raise SettingsError where requests must not be sent to an address.

    Args:
        name: the option, key or variable that the address comes from.
        url: the address; a path may follow the host.
        allow_insecure: whether http to another machine was allowed by name.
    """
    fault = _fault(url, allow_insecure=allow_insecure)
    if fault is not None:
        raise SettingsError(f"{name}: {shown(_USERINFO.sub('', url))} {fault}")


def is_insecure(url: str) -> bool:
    """Whether requests to an address can be read on their way to another machine."""
    parts = _split(url)
    return parts is None or (parts.scheme != "https" and not is_loopback(parts.hostname))


def is_loopback(host: str | None) -> bool:
    """Whether a host is this machine: 127.0.0.0/8, ::1 or localhost."""
    if host is None or host.lower() == "localhost":
        return host is not None
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _fault(url: str, *, allow_insecure: bool) -> str | None:
    parts = _split(url)
    if parts is None:
        return "is not an endpoint; allowed is an http or https URL such as https://proxy.example"
    if "@" in parts.netloc:
        return "had a user or password in it; allowed is a URL without"
    if is_insecure(url) and not allow_insecure:
        return (
            "would send session tokens unencrypted to another machine; allowed are https, http to"
            " loopback (127.0.0.0/8, ::1, localhost), or any http with --allow-insecure-endpoint"
            " (aws.allow_insecure_endpoint = true)"
        )
    return None


def _split(url: str) -> SplitResult | None:
    if _UNCLEAR.search(url):
        return None
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if known else None
