"""How requests leave: the SDK's HTTP session, held to rules that it leaves to its callers."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from aiobotocore.httpsession import AIOHTTPSession
from botocore.exceptions import ClientError, ProxyConnectionError, SSLError
from botocore.httpsession import mask_proxy_url

from harvester.aws.proxies import LOGIN_STATUS, ProxyStatusError, check_proxy
from harvester.settings.endpoints import check_endpoint, is_loopback

_REDIRECTS, _ERRORS = 300, 400
_ADDRESSES = 64  # of one client: one for each operation


def session_class(*, allow_insecure: bool) -> type[AIOHTTPSession]:
    """Return a class of HTTP sessions that share their certificates.

    Loading the CA bundle takes some 30 ms, and each client of each region would do it anew.
    Whatever made a request, with whatever configuration:

    - it does not go unencrypted to another machine, unless that is allowed;
    - it follows no redirect, which would take its session token to any host;
    - certificates and the names in them are checked, or there is no connection;
    - what is for this machine goes through no proxy, and nothing through one that is not usable.
    """
    contexts: dict[Any, Any] = {}
    good: set[str] = set()

    class CarefulSession(AIOHTTPSession):  # type: ignore[misc]  # the SDK is untyped
        _plain = False

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            # What the environment says of a proxy is worked out once for an address, and not
            # for every request.
            proxies = self._proxy_config
            proxies.proxy_url_for = lru_cache(_ADDRESSES)(_unless_loopback(proxies.proxy_url_for))
            proxies.proxy_headers_for = lru_cache(_ADDRESSES)(proxies.proxy_headers_for)

        async def send(self, request: Any) -> Any:
            self._plain = request.url.startswith("http:")
            address = request.url.partition("?")[0]
            if address not in good:
                check_endpoint("endpoint", address, allow_insecure=allow_insecure)
                _check_proxy(self._proxy_config, address)
                good.add(address)
            return _usable(await super().send(request), self._proxy_config.proxy_url_for(address))

        async def _get_session(self, proxy_url: str | None) -> _Direct:
            return _Direct(await super()._get_session(proxy_url))

        def _build_ssl_contexts(self, proxy_url: str | None) -> Any:
            if self._plain and proxy_url is None:
                return True, None  # aiohttp's default, which checks too; here it is not needed
            key = (self._verify, self._cert_file, self._key_file, proxy_url)
            if key not in contexts:
                made = super()._build_ssl_contexts(proxy_url)
                _must_check(made[0])
                contexts[key] = made
            return contexts[key]

    return CarefulSession


class _Direct:
    """A session of aiohttp for requests that go to their host and no further."""

    def __init__(self, session: Any) -> None:
        self._session = session

    async def request(self, method: str, **options: Any) -> Any:
        return await self._session.request(method, allow_redirects=False, **options)


def _unless_loopback(proxy_for: Callable[[str], str | None]) -> Callable[[str], str | None]:
    """Return the same function, but with no proxy for this machine."""
    return lambda url: None if is_loopback(urlsplit(url).hostname) else proxy_for(url)


def _check_proxy(proxies: Any, address: str) -> None:
    if proxies.proxy_url_for(address):
        scheme = address.partition(":")[0]
        check_proxy(proxies._proxies[scheme], scheme)  # noqa: SLF001  # as the variable has it


def _usable(response: Any, proxy: str | None) -> Any:
    if proxy and response.status_code == LOGIN_STATUS:  # of a request without a tunnel
        response.raw.close()
        cause = ProxyStatusError(LOGIN_STATUS)
        raise ProxyConnectionError(proxy_url=mask_proxy_url(proxy), error=cause)
    if _REDIRECTS <= response.status_code < _ERRORS:
        response.raw.close()
        message = "the endpoint redirects to another place, and that is not followed"
        raise ClientError(
            {
                "Error": {"Code": f"HTTP{response.status_code}", "Message": message},
                "ResponseMetadata": {"HTTPStatusCode": response.status_code},
            },
            "any",
        )
    return response


def _must_check(context: ssl.SSLContext) -> None:
    if context.verify_mode is not ssl.CERT_REQUIRED or not context.check_hostname:
        raise SSLError(endpoint_url="", error="certificates would not be checked")
