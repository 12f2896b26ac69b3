"""Credentials: the caller's own from the SDK's chain, and one role for each other account."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import anyio
from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioCredentials
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import BotoCoreError

from harvester.aws.transport import session_class
from harvester.errors import HarvesterError, StartError
from harvester.text import Secret, printable, redact

# Renew five minutes before the end, but a short-lived session no earlier than in the last
# quarter of its life: otherwise each request of such a session would ask STS anew.
_RENEW_BEFORE_SECONDS = 300.0
_RENEW_BEFORE_SHARE = 0.25

_SECRET_VARIABLES = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
)
_SECRET_KEYS = ("aws_secret_access_key", "aws_session_token", "external_id")


_OWN_SECONDS = 30.0
"""How long the caller's own keys are taken to be good. The SDK's chain renews them minutes before
their end, and does not say when that is."""


class Credentials(Protocol):
    """Where a request's signing keys come from."""

    async def current(self) -> AioCredentials:
        """Return keys that are good now, renewing them if their time is nearly over."""
        ...

    def expire(self, refused: AioCredentials) -> None:
        """Note that the service called these keys expired: the next `current` renews them."""
        ...

    def good_for(self) -> float:
        """Return for how many seconds the keys that `current` gave need not be asked for anew."""
        ...


@dataclass(frozen=True, slots=True)
class Session:
    """Keys with a lifetime, as AssumeRole grants them."""

    keys: AioCredentials
    expires: datetime

    @classmethod
    def granted(cls, access_key: str, secret_key: str, token: str, expires: datetime) -> Session:
        """Return the session that STS granted."""
        return cls(_veiled(access_key, secret_key, token), expires)


class RoleCredentials:
    """A role's session: assumed at first use, renewed before its end and when refused.

    However many tasks ask at once, one of them calls `assume` and the others wait for it.
    Errors of `assume` pass through to whoever asked.
    """

    def __init__(
        self,
        assume: Callable[[], Awaitable[Session]],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._assume = assume
        self._now = now
        self._lock = anyio.Lock()
        self._keys: AioCredentials | None = None
        self._renew_at = datetime.min.replace(tzinfo=UTC)

    async def current(self) -> AioCredentials:
        """Return keys that are good now."""
        if (keys := self._fresh()) is not None:
            return keys
        async with self._lock:
            if (keys := self._fresh()) is None:
                session = await self._assume()
                lifetime = (session.expires - self._now()).total_seconds()
                early = min(_RENEW_BEFORE_SECONDS, lifetime * _RENEW_BEFORE_SHARE)
                self._renew_at = session.expires - timedelta(seconds=max(early, 0.0))
                self._keys = keys = session.keys
            return keys

    def _fresh(self) -> AioCredentials | None:
        return self._keys if self._now() < self._renew_at else None

    def expire(self, refused: AioCredentials) -> None:
        """Forget these keys, if no other task has renewed them already."""
        if self._keys is refused:
            self._keys = None

    def good_for(self) -> float:
        """Return for how many seconds the keys need not be renewed."""
        return max(0.0, (self._renew_at - self._now()).total_seconds())


class OwnCredentials:
    """The caller's own, from the SDK's chain, which renews those that can be renewed.

    Args:
        profile: a profile of the SDK's configuration, or None for the SDK's own choice.
        http_session: the class of HTTP sessions for what the chain itself must ask.
    """

    def __init__(
        self, profile: str | None, http_session: type[AIOHTTPSession] | None = None
    ) -> None:
        self._profile = profile
        self._config = AioConfig(
            http_session_cls=http_session or session_class(allow_insecure=False)
        )
        self._lock = anyio.Lock(fast_acquire=True)
        self._session = AioSession(profile=profile)
        self._source: AioCredentials | None = None
        self._handed: AioCredentials | None = None

    async def current(self) -> AioCredentials:
        """Return keys that are good now.

        Raises:
            StartError: the chain has none, or cannot get them.
        """
        async with self._lock:
            frozen = await self._frozen()
            keys = (frozen.access_key, frozen.secret_key, frozen.token)
            handed = self._handed
            if handed is None or (handed.access_key, handed.secret_key, handed.token) != keys:
                self._handed = handed = _veiled(*keys)
            return handed

    async def _frozen(self) -> ReadOnlyCredentials:
        try:
            if self._source is None:
                # A session of its own: what an expired one has cached must not come back.
                self._session = AioSession(profile=self._profile)
                self._session.set_default_client_config(self._config)
                self._source = await self._session.get_credentials()
            if self._source is not None:
                return await self._source.get_frozen_credentials()
        except HarvesterError:
            raise
        except Exception as error:  # noqa: BLE001  # see the comment
            # Profiles may run programs, read files and assume roles: all of it can fail, and
            # what it fails with has no common base.
            raise StartError(
                f"no AWS credentials: {printable(redact(str(error), _secrets(self._session)))}",
                hint="check --profile, AWS_PROFILE and the files in ~/.aws",
            ) from None  # the SDK's error may hold what was redacted from ours
        raise StartError(
            "no AWS credentials found",
            hint="log in (aws sso login), set AWS_PROFILE or --profile NAME, "
            "or run where a role is attached",
        )

    def expire(self, refused: AioCredentials) -> None:
        """Ask the chain anew the next time, if no other task has done so already."""
        if self._handed is refused:
            self._source = self._handed = None

    def good_for(self) -> float:
        """Return for how many seconds the chain need not be asked anew."""
        return _OWN_SECONDS


def _veiled(access_key: str, secret_key: str, token: str | None) -> AioCredentials:
    return AioCredentials(access_key, Secret(secret_key), None if token is None else Secret(token))


def _secrets(session: AioSession) -> tuple[str, ...]:
    """Return the secrets in the environment and in the SDK's files, to be kept out of errors."""
    found = [os.environ.get(name) for name in _SECRET_VARIABLES]
    try:
        profiles = session.full_config.get("profiles", {}).values()
    except BotoCoreError:  # the file cannot be read, so nothing in it was used
        profiles = ()
    found += [profile.get(key) for profile in profiles for key in _SECRET_KEYS]
    return tuple(Secret(secret) for secret in found if secret)
