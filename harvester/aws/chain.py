"""Loading the caller's own credentials from the SDK's chain, with the time of their end.

Each load goes through the chain from its beginning, with a session of its own. The SDK's
refreshing is switched off: it would ask the source again for each request of the last 15
minutes. `harvester.aws.credentials` decides when to load anew.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from aiobotocore._helpers import resolve_awaitable
from aiobotocore.config import AioConfig
from aiobotocore.credentials import (
    AioAssumeRoleProvider,
    AioProcessProvider,
    AioRefreshableCredentials,
    create_credential_resolver,
)
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.utils import AioIMDSRegionProvider
from botocore.exceptions import BotoCoreError

from harvester.aside import call_aside
from harvester.aws.answers import BodyReader, read_by
from harvester.aws.endpoints import SERVICES
from harvester.aws.mfa import CodeNeededError, Codes
from harvester.aws.models import quicken
from harvester.aws.program import ATTENDED_SECONDS, PROGRAM_SECONDS, attended, run_program
from harvester.aws.session import Session
from harvester.aws.sources import advice_for, describe, reason_of
from harvester.aws.transport import session_class
from harvester.errors import CredentialsError, HarvesterError
from harvester.text import Secret

T = TypeVar("T")

_CONNECT_SECONDS = 10.0
_READ_SECONDS = 15.0
_REST_SECONDS = 30.0
_ATTEMPTS = 3
_OF_THE_CHAIN = (*SERVICES, "signin", "sso", "sso-oidc")
_NONE = "no AWS credentials"
_ADVICE = "check --profile, AWS_PROFILE and the files in ~/.aws"
INSTANCE_METHODS = ("iam-role", "container-role")
"""Sources that belong to the machine that this process runs on."""

_SECRET_VARIABLES = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
)
_SHORTEST_SECRET = 4
_SECRET_KEYS = ("aws_secret_access_key", "aws_session_token", "external_id")


@dataclass(frozen=True, slots=True)
class Loaded:
    """Keys as a source of the chain gave them.

    Attributes:
        expires: the time of their end, an aware datetime; None where they have none.
        source: describes where they come from.
        method: the SDK's name of the source, such as `iam-role`.
    """

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(repr=False)
    expires: Any
    source: str
    method: str


@dataclass(frozen=True, slots=True)
class Chain:
    """The SDK's credential chain.

    Args:
        profile: a profile of the SDK's configuration, or None for the SDK's own choice.
        endpoint_url: the endpoint of the chain's own clients (STS, SSO), None for AWS's.
        http_session: the class of HTTP sessions for what the chain itself must ask.
        region: the region of the chain's own clients; SSO has one of its own.
    """

    profile: str | None = None
    endpoint_url: str | None = None
    http_session: type[AIOHTTPSession] | None = None
    region: str | None = None

    async def load(self, *, ask: bool = True) -> Loaded:
        """Return the keys of the first source that has some.

        With `ask`, somebody at the terminal is asked for an MFA code where one is needed.

        Raises:
            CredentialsError: no source has keys, or the one in charge fails.
        """
        return await self._aside(partial(self._load_with, Codes(ask=ask)))

    async def _load_with(self, codes: Codes) -> Loaded:
        while True:
            try:
                return await self._load(codes)
            except CodeNeededError as need:
                await codes.ask(need.device)

    def in_region(self, region: str) -> Chain:
        """Return the same chain, whose own clients ask a region."""
        return replace(self, region=region)

    async def instance_region(self) -> str | None:
        """Return the region of the instance that this process runs on, None where it tells none."""
        return await self._aside(self._instance_region)

    async def _aside(self, do: Callable[[], Awaitable[T]]) -> T:
        seconds = _REST_SECONDS + (ATTENDED_SECONDS if attended() else PROGRAM_SECONDS)
        try:
            return await call_aside(do, seconds=seconds)
        except TimeoutError:
            raise CredentialsError(
                f"{_NONE}: their source did not answer in {seconds:.0f} seconds",
                hint="check the profile's source of credentials, and the network",
            ) from None

    async def _load(self, codes: Codes) -> Loaded:
        session = self._session()
        try:
            for provider in self._providers(session, codes):
                found = await provider.load()
                if found is None:
                    continue
                source = describe(provider, session)
                frozen = await _named(found.get_frozen_credentials, provider, session)
                keys = (frozen.access_key, Secret(frozen.secret_key))
                token = None if frozen.token is None else Secret(frozen.token)
                expires = getattr(found, "_expiry_time", None)
                return Loaded(*keys, token, expires, source, provider.METHOD)
        except (BotoCoreError, ValueError) as error:  # of a variable's or a key's value
            failure = _failure("the SDK's configuration", error, session)
            raise failure from None
        raise CredentialsError(
            f"{_NONE} found{session.missing_files()}",
            hint="log in (aws sso login), set AWS_PROFILE or --profile NAME, "
            "or run where a role is attached",
        )

    async def _instance_region(self) -> str | None:
        region: str | None = await AioIMDSRegionProvider(session=self._session()).provide()
        return region

    def _session(self) -> Session:
        session = Session(self.profile, self.endpoint_url)
        session.scoped()  # raises where the profile does not exist
        quicken(session, _OF_THE_CHAIN)
        base = self.http_session or session_class(allow_insecure=False)
        config = AioConfig(
            retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            http_session_cls=read_by(BodyReader(), base),
        )
        session.set_default_client_config(config)
        return session

    def _providers(self, session: Session, codes: Codes) -> list[Any]:
        resolver = create_credential_resolver(session, region_name=self.region)
        return _adapted(resolver.providers, session, codes)


def _adapted(providers: list[Any], session: Session, codes: Codes) -> list[Any]:
    """Make providers name themselves in errors, and refresh nothing; return them."""
    for provider in providers:
        if isinstance(provider, AioProcessProvider):
            provider._popen = run_program  # noqa: SLF001  # a constructor's argument
        if isinstance(provider, AioAssumeRoleProvider):
            profile = provider._profile_name  # noqa: SLF001  # likewise
            provider._prompter = partial(codes.prompt, profile)  # noqa: SLF001
            builder = provider._profile_provider_builder  # noqa: SLF001  # of source profiles
            builder.providers = _adapting(builder.providers, session, codes)
        provider.load = partial(_load_from, provider, provider.load, session)
    return providers


def _adapting(
    make: Callable[..., list[Any]], session: Session, codes: Codes
) -> Callable[..., list[Any]]:
    def made(*arguments: Any, **options: Any) -> list[Any]:
        return _adapted(make(*arguments, **options), session, codes)

    return made


async def _load_from(provider: Any, load: Callable[[], Awaitable[Any]], session: Session) -> Any:
    found = await _named(load, provider, session)
    if isinstance(found, AioRefreshableCredentials):
        refresh = found._refresh_using  # noqa: SLF001  # a constructor's argument

        async def once() -> Any:
            return await resolve_awaitable(refresh())

        found._refresh_using = partial(_named, once, provider, session)  # noqa: SLF001
        # What is good now is good enough: see the head of this module.
        found._advisory_refresh_timeout = found._mandatory_refresh_timeout = 0  # noqa: SLF001
    return found


async def _named(do: Callable[[], Awaitable[Any]], provider: Any, session: Session) -> Any:
    """Return what `do` returns; its errors name the provider that they come from."""
    try:
        return await do()
    except HarvesterError as error:
        if not isinstance(error, CredentialsError) or str(error).startswith(_NONE):
            raise
        failure = _failure(describe(provider, session), error, session)
    except Exception as error:  # noqa: BLE001  # profiles read files and run programs
        failure = _failure(describe(provider, session), error, session)
    failure.hint = failure.hint or advice_for(provider, session) or _ADVICE
    # Not from the SDK's own error, which may hold what was redacted from ours.
    raise failure from failure.__cause__


def _failure(source: str, error: Exception, session: Session) -> CredentialsError:
    reason, cause = reason_of(error, _secrets(session))
    made = CredentialsError(f"{_NONE}: {source}: {reason}", hint=getattr(error, "hint", None))
    made.__cause__ = cause
    return made


def _secrets(session: Session) -> tuple[str, ...]:
    """Return the secrets in the environment and in the SDK's files, to be kept out of errors."""
    found = [os.environ.get(name) for name in _SECRET_VARIABLES]
    try:
        profiles = session.profiles().values()
    except BotoCoreError:  # the file cannot be read, so nothing in it was used
        profiles = ()  # type: ignore[assignment]
    found += [profile.get(key) for profile in profiles for key in _SECRET_KEYS]
    # A text that short is no key: to blank it would blank letters of any message.
    return tuple(Secret(secret) for secret in found if secret and len(secret) >= _SHORTEST_SECRET)
