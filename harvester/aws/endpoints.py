"""What the SDK's own configuration says about the way to AWS: endpoints and certificates."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from aiobotocore.session import AioSession

from harvester.errors import SettingsError
from harvester.settings.endpoints import check_endpoint, is_insecure
from harvester.settings.values import shown

SERVICES = ("sts", "organizations", "ec2", "imagebuilder")
"""The services that are asked, by the SDK's names."""

_log = logging.getLogger("harvester")


def check_endpoints(
    session: AioSession, given: str | None, *, allow_insecure: bool
) -> dict[str, str]:
    """Return the endpoints, by service, that are not AWS's own.

    Raises SettingsError where a request would go to an endpoint that is not allowed.

    Args:
        session: its environment and profile are asked where no endpoint is given.
        given: the endpoint of the settings, which beats all others.
        allow_insecure: whether http to another machine is allowed; a warning then says so.
    """
    if given:
        found = dict.fromkeys(SERVICES, ("aws.endpoint_url", given))
    else:
        found = dict(_configured(session))
    for name, url in dict.fromkeys(found.values()):
        check_endpoint(name, url, allow_insecure=allow_insecure)
        if is_insecure(url):
            _log.warning(
                "%s: requests go unencrypted to %s, as it is allowed",
                name,
                url,
                extra={"event": "insecure_endpoint"},
            )
    return {service: url for service, (_, url) in found.items()}


def need_certificates(endpoints: Mapping[str, str]) -> bool:
    """Return whether not all requests go unencrypted, with these endpoints by service."""
    plain = [url for url in endpoints.values() if url.lower().startswith("http:")]
    return len(plain) < len(SERVICES)


def check_certificates(session: AioSession, *, needed: bool = True) -> None:
    """Raise SettingsError for a CA bundle that would fail later, or switch the check off.

    An empty name means to some versions of the SDK that certificates are not checked at all.
    Where none are `needed`, they are not decoded, which takes a tenth of a small sweep's CPU.
    """
    places = {
        "AWS_CA_BUNDLE": os.environ.get("AWS_CA_BUNDLE"),
        "ca_bundle in the AWS profile": session.get_scoped_config().get("ca_bundle"),
        "REQUESTS_CA_BUNDLE": os.environ.get("REQUESTS_CA_BUNDLE"),
    }
    for name, path in places.items():
        if path is not None:
            _check_bundle(name, path, _decode if needed else _look_into)
            return


def _check_bundle(name: str, path: str, read: Callable[[str], None]) -> None:
    if not path.strip():
        reason = "it is empty"
    else:
        try:
            read(path)
        except ssl.SSLError:
            reason = "there is no certificate in it"
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
        else:
            return
    raise SettingsError(
        f"{name}: {shown(path)} cannot be used: {reason}; allowed is a file of certificates in PEM,"
        " and without it the SDK's own are used"
    )


def _decode(path: str) -> None:
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)


def _look_into(path: str) -> None:
    if b"-----BEGIN" not in Path(path).read_bytes():
        raise ssl.SSLError


def _configured(session: AioSession) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield each service whose endpoint is not AWS's own: where that is set, and what it is."""
    if session.get_config_variable("ignore_configured_endpoint_urls"):
        return
    profile: Mapping[str, Any] = session.get_scoped_config()
    chosen = session.full_config.get("services", {}).get(profile.get("services"), {})
    for service in SERVICES:
        variable = f"AWS_ENDPOINT_URL_{service.upper()}"
        own = chosen.get(service, {})
        # In the SDK's order; what is empty counts as not set.
        places = (
            (variable, os.environ.get(variable)),
            ("AWS_ENDPOINT_URL", os.environ.get("AWS_ENDPOINT_URL")),
            (
                f"endpoint_url of {service} in the AWS profile's services",
                own.get("endpoint_url") if isinstance(own, Mapping) else None,
            ),
            ("endpoint_url in the AWS profile", profile.get("endpoint_url")),
        )
        for name, url in places:
            if url:
                yield service, (name, url)
                break
