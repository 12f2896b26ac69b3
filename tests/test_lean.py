"""Requests made after the SDK's first one: the same but for their body, time and keys."""

from __future__ import annotations

import re
import string
from typing import Any

import orjson
import pytest
from aiobotocore.credentials import AioCredentials
from aiohttp import web
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from hypothesis import given
from hypothesis import strategies as st

from harvester.aws.clients import Clients
from harvester.aws.lean import Model
from harvester.errors import ServiceError
from harvester.paging.channel import Call
from tests.serving import serving

_URL = "https://imagebuilder.us-east-1.amazonaws.com/ListImageScanFindings"
_SIGNER = AioCredentials("AKIAEXAMPLE", "key/of/the/caller", None)
_VISIBLE = string.ascii_letters + string.digits + string.punctuation
_WORDS = st.text(_VISIBLE, min_size=1, max_size=40)
_KEYS = st.builds(
    AioCredentials,
    st.text(string.ascii_uppercase, min_size=16, max_size=20),
    st.text(string.ascii_letters + "+/", min_size=20, max_size=40),
    st.none() | st.just("") | st.text(string.ascii_letters + "+/=", min_size=1, max_size=200),
)
_URLS = st.builds(
    "{}://{}/{}{}".format,
    st.sampled_from(["http", "https"]),
    st.sampled_from(["127.0.0.1:8080", "vpce-1.us-east-1.vpce.amazonaws.com", "[::1]:443"]),
    st.sampled_from(["ListImageScanFindings", "base/ListImages", "a%20b//c/../d", ""]),
    st.sampled_from(["", "?b=2&a=1", "?flag"]),
)
_HEADERS = st.dictionaries(
    st.sampled_from(["Content-Type", "User-Agent", "X-Amz-Api-Version", "Accept", "x-of-a-proxy"]),
    st.lists(_WORDS, min_size=1, max_size=3).map("  ".join),
)


def _first(
    url: str = _URL,
    headers: dict[str, str] | None = None,
    keys: AioCredentials | None = None,
    body: bytes = b"{}",
) -> Any:
    """A request as the SDK sends it."""
    request = AWSRequest("POST", url, headers or {}, body)
    keys = keys or AioCredentials("AKIAFIRST", "secret", "token")
    SigV4Auth(keys, "imagebuilder", "us-east-1").add_auth(request)
    return request.prepare()


def _signed_by_the_sdk(request: Any, keys: AioCredentials) -> dict[str, str]:
    """The headers of a request, had the SDK signed it in the same second."""
    own = {
        name: value
        for name, value in request.headers.items()
        if name not in ("Authorization", "Content-Length")
    }
    signer = SigV4Auth(keys, "imagebuilder", "us-east-1")
    again = AWSRequest(request.method, request.url, own, request.body)
    again.context["timestamp"] = own["X-Amz-Date"]
    text = signer.string_to_sign(again, signer.canonical_request(again))
    signer._inject_signature_to_request(again, signer.signature(text, again))
    return {**dict(again.headers.items()), "Content-Length": str(len(request.body))}


@given(_URLS, _HEADERS, _KEYS, _KEYS, st.dictionaries(st.text(max_size=5), st.text(max_size=9)))
def test_it_is_signed_as_the_sdk_signs(
    url: str,
    headers: dict[str, str],
    first: AioCredentials,
    keys: AioCredentials,
    parameters: dict[str, str],
) -> None:
    model = Model.of(_first(url, headers, first))
    assert model is not None
    request = model.request(parameters, keys)

    assert request.url == url
    assert request.body == orjson.dumps(parameters)
    assert headers.items() <= request.headers.items()
    assert request.headers.get("X-Amz-Security-Token") == (keys.token or None)
    assert request.headers == _signed_by_the_sdk(request, keys)


def test_nothing_of_the_first_request_s_own_is_sent_again() -> None:
    own = {"amz-sdk-invocation-id": "1", "amz-sdk-request": "2", "X-Amzn-Trace-Id": "3"}
    model = Model.of(_first(headers={**own, "User-Agent": "SDK"}, body=b'{"secret": 1}'))
    assert model is not None
    request = model.request({}, AioCredentials("AKIASECOND", "another"))

    assert set(request.headers) == {"User-Agent", "X-Amz-Date", "Content-Length", "Authorization"}
    assert "AKIAFIRST" not in str(request.headers)
    assert re.fullmatch(r"\d{8}T\d{6}Z", request.headers["X-Amz-Date"])


@pytest.mark.parametrize(
    ("method", "authorization"),
    [
        ("GET", "AWS4-HMAC-SHA256 Credential=A/20260301/us-east-1/imagebuilder/aws4_request, S=1"),
        ("POST", ""),
        ("POST", "Bearer something"),
        ("POST", "AWS4-HMAC-SHA256 Credential=A/20260301/aws4_request, S=1"),
        ("POST", "AWS4-ECDSA-P256-SHA256 Credential=A/20260301/imagebuilder/aws4_request, S=1"),
        ("POST", "AWS4-ECDSA-P256-SHA256 Credential=A/1/us-east-1/imagebuilder/aws4_request, S=1"),
    ],
)
def test_what_is_signed_in_another_way_is_no_model(method: str, authorization: str) -> None:
    headers = {"Authorization": authorization} if authorization else {}

    assert Model.of(AWSRequest(method, _URL, headers, b"{}").prepare()) is None


@pytest.mark.parametrize(
    ("status", "code", "own"),
    [
        (403, "SignatureDoesNotMatch", 2),
        (403, "InvalidSignatureException", 2),
        (404, "UnknownOperationException", 2),
        (302, "", 2),
        (403, "AccessDeniedException", 1),
        (429, "CallRateLimitExceededException", 1),
    ],
)
async def test_a_request_that_is_refused_for_its_form_is_made_by_the_sdk_again(
    status: int, code: str, own: int
) -> None:
    """Requests of the SDK's own carry an id; those made after a model carry none."""
    made: list[bool] = []

    async def handle(request: web.BaseRequest) -> web.Response:
        await request.read()
        made.append("amz-sdk-invocation-id" in request.headers)
        if len(made) == 1:
            headers = {"x-amzn-ErrorType": code} if code else {}
            return web.Response(status=status, headers=headers, body=b"{}")
        return web.Response(body=b'{"findings":[]}')

    call = Call("imagebuilder", "us-east-1", "list_image_scan_findings", {}, "1" * 12)
    async with (
        serving(handle) as url,
        Clients(profile=None, endpoint_url=url, max_connections=2) as clients,
    ):
        with pytest.raises(ServiceError):
            await clients.call(call, _SIGNER)
        for _ in range(3):
            assert await clients.call(call, _SIGNER) == b'{"findings":[]}'
    assert made == [True] * own + [False] * (4 - own)
