"""Image Builder's requests without the SDK's steps around them.

What the SDK does for every single call (endpoint rules, user agent, parameter validation,
event hooks, parsing) takes more CPU than the page itself. So it makes the first request of each
operation in each region, with all that its configuration asks for, and later ones are made
after that model: same URL, same headers, signed by the SDK's own signer and sent through the
client's own connections, with its proxies and certificates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from aiobotocore.credentials import AioCredentials
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

# Made anew for each request, by the signer, by the transport, or not needed.
_OF_ONE_REQUEST = frozenset(
    {
        "amz-sdk-invocation-id",
        "amz-sdk-request",
        "authorization",
        "content-length",
        "x-amz-content-sha256",
        "x-amz-date",
        "x-amz-security-token",
        "x-amzn-trace-id",
    }
)


@dataclass(frozen=True, slots=True)
class Model:
    """What all requests of one operation in one region have in common."""

    url: str
    headers: tuple[tuple[str, str], ...]
    signing_region: str
    signing_name: str

    @classmethod
    def of(cls, request: Any) -> Model | None:
        """Return the model of a request that the SDK is about to send.

        None where it is not one to follow: not a signed POST with a scope that can be read.
        """
        headers = {name: _text(value) for name, value in request.headers.items()}
        _, _, credential = headers.get("Authorization", "").partition("Credential=")
        scope = credential.partition(",")[0].rsplit("/", 4)
        if request.method != "POST" or len(scope) != 5:  # noqa: PLR2004
            return None
        kept = tuple(item for item in headers.items() if item[0].lower() not in _OF_ONE_REQUEST)
        return cls(request.url, kept, signing_region=scope[2], signing_name=scope[3])

    def request(self, parameters: dict[str, Any], signer: AioCredentials) -> Any:
        """Return a signed request with these parameters, ready to be sent."""
        request = AWSRequest("POST", self.url, dict(self.headers), orjson.dumps(parameters))
        SigV4Auth(signer, self.signing_name, self.signing_region).add_auth(request)
        return request.prepare()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
