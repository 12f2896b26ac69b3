"""One SDK client per service and region, shared by all accounts, each call signed for its own."""

from __future__ import annotations

from contextlib import AsyncExitStack
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import Any, Self

import anyio
from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioCredentials
from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError

from harvester.aws.answers import BodyReader, read_by
from harvester.aws.endpoints import check_certificates, check_endpoints, need_certificates
from harvester.aws.faults import error_answer, translate
from harvester.aws.lean import Model
from harvester.aws.models import load_models, quicken
from harvester.aws.session import Session
from harvester.aws.transport import session_class
from harvester.concurrency import in_thread
from harvester.errors import HarvesterError
from harvester.names import operation_name
from harvester.paging.channel import Call
from harvester.text import Secret

CALL_SECONDS = 30.0
"""The longest that one call may take, connection and body included. A read timeout alone
would not stop a body that drips."""

_CONNECT_SECONDS = 10.0
_NOT_GOOD = 300
_BAD_REQUEST = 400
_NOT_FOUND = 404
_OF_THE_REQUEST = frozenset(
    {
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "SignatureDoesNotMatch",
        "UnknownOperationException",
    }
)
_signer: ContextVar[AioCredentials] = ContextVar("signer")


class Clients:
    """The clients of one run; an async context manager that closes them all.

    Attributes:
        session: the SDK's session.
        http_session: the class of HTTP sessions that requests leave through, without this run's
            bound on bodies.
        endpoints: those that are not AWS's own, by service.
    """

    def __init__(
        self,
        *,
        profile: str | None,
        endpoint_url: str | None,
        max_connections: int,
        allow_insecure_endpoint: bool = False,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        self._call_seconds = call_seconds
        self.session = Session(profile)
        self._endpoint_url = endpoint_url
        self._allow_insecure = allow_insecure_endpoint
        self.http_session = session_class(allow_insecure=allow_insecure_endpoint)
        self._config = AioConfig(
            # One attempt: the SDK's retries do not know Image Builder's throttle.
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=max_connections,
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=call_seconds,
            http_session_cls=read_by(BodyReader(), self.http_session),
        )
        self.endpoints: dict[str, str] = {}
        self._models: dict[tuple[str, str], Model] = {}
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = anyio.Lock()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Check the way to AWS. Nothing is opened: each client is made at its first call.

        Raises:
            SettingsError: an endpoint is not allowed, or the CA bundle cannot be used.
        """
        self.session.scoped()  # raises where the profile cannot be used
        self.endpoints = check_endpoints(
            self.session, self._endpoint_url, allow_insecure=self._allow_insecure
        )
        check_certificates(self.session, needed=need_certificates(self.endpoints))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close every client, also when cancelled."""
        with anyio.CancelScope(shield=True):
            await self._stack.aclose()

    async def open(self, service: str, region: str) -> None:
        """Make the client for a service and region, unless it is there."""
        try:
            await self._client(service, region)
        except (BotoCoreError, OSError, ValueError) as error:
            raise translate(error, operation="open", account=None, region=region) from None

    async def call(self, call: Call, signer: AioCredentials) -> Any:
        """Make one call, once, signed by `signer`.

        Returns the raw body for Image Builder and the SDK's parsed answer for other services.
        Raises a `ServiceError` of the kind that fits.
        """
        mark = _signer.set(signer)
        try:
            with anyio.fail_after(self._call_seconds):
                client = await self._client(call.service, call.region)
                if call.service == "imagebuilder":
                    return await self._image_builder(client, call)
                return _veiled(await getattr(client, call.operation)(**call.parameters))
        except HarvesterError:
            raise
        except Exception as error:  # noqa: BLE001  # see the comment
            # All of them: what the SDK's parsers raise on garbage has no common base.
            raise translate(
                error,
                operation=operation_name(call.operation),
                account=call.account,
                region=call.region if call.service != "organizations" else None,
                secrets=(signer.secret_key, signer.token, call.parameters.get("ExternalId")),
            ) from None  # the SDK's error may hold what was redacted from ours
        finally:
            _signer.reset(mark)

    async def _image_builder(self, client: Any, call: Call) -> bytes:
        model = self._models.get((call.region, call.operation))
        try:
            if model is not None:
                request = model.request(call.parameters, _signer.get())
                return await _send(client, request, call.operation)
            answer = await getattr(client, call.operation)(**call.parameters)
        except ClientError as error:
            if _is_of_the_request(error):
                # The next one is the SDK's own again: it may have learned better meanwhile.
                self._models.pop((call.region, call.operation), None)
            raise
        raw: bytes = answer["raw"]
        return raw

    async def _client(self, service: str, region: str) -> Any:
        key = (service, region)
        if key not in self._clients:
            async with self._lock:
                if key not in self._clients:
                    self._clients[key] = await self._open(service, region)
        return self._clients[key]

    async def _open(self, service: str, region: str) -> Any:
        if not self._clients:
            quicken(self.session)
        await in_thread(partial(load_models, self.session, service))
        client = await self._stack.enter_async_context(
            self.session.create_client(
                service,
                region_name=region,
                endpoint_url=self._endpoint_url,
                config=self._config,
                # Placeholders that are never sent: every request is signed by its own signer.
                aws_access_key_id="unused",
                aws_secret_access_key="unused",  # noqa: S106
            )
        )
        client.meta.events.register("before-sign", _sign_as_asked)
        if service == "imagebuilder":
            client.meta.events.register("before-parse", _keep_raw)
            client.meta.events.register("before-send", partial(self._learn, region))
        return client

    def _learn(self, region: str, request: Any, event_name: str, **_: Any) -> None:
        """Keep the SDK's request as the model of those to come."""
        model = Model.of(request)
        if model is not None:
            self._models[region, xform_name(event_name.rpartition(".")[2])] = model


async def _send(client: Any, request: Any, operation: str) -> bytes:
    """Send a request through a client's own connections, and return the body of its answer."""
    response = await client._endpoint.http_session.send(request)  # noqa: SLF001  # see lean.py
    body: bytes = await response.content
    if response.status_code >= _NOT_GOOD:
        raise ClientError(
            error_answer(response.status_code, response.headers, body), operation_name(operation)
        )
    return body


def _is_of_the_request(error: ClientError) -> bool:
    """Return whether a service refused how a request was made, and not what it asked."""
    status = error.response["ResponseMetadata"].get("HTTPStatusCode", 0)
    code = error.response["Error"].get("Code", "")
    return code in _OF_THE_REQUEST or _NOT_GOOD <= status < _BAD_REQUEST or status == _NOT_FOUND


def _veiled(answer: Any) -> Any:
    """Return an answer of the SDK with the keys in it, as AssumeRole's, kept out of reprs."""
    found = answer.get("Credentials")
    for name in ("SecretAccessKey", "SessionToken"):
        if isinstance(found, dict) and isinstance(found.get(name), str):
            found[name] = Secret(found[name])
    return answer


def _sign_as_asked(request: Any, **_: Any) -> None:
    request.context.setdefault("signing", {})["request_credentials"] = _signer.get()


def _keep_raw(
    response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
) -> None:
    # The SDK's parser takes garbage for an empty answer and drops fields that it does not
    # know, so a good answer's body goes past it. Errors are left to it.
    if response_dict["status_code"] < _NOT_GOOD:
        customized_response_dict["raw"] = response_dict["body"]
        response_dict["body"] = b"{}"
