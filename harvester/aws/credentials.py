"""Credentials: the caller's own from the SDK's chain, and one role for each other account."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import anyio
from aiobotocore.credentials import AioCredentials
from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError, ClientError

from harvester.errors import StartError
from harvester.text import printable

# Renew five minutes before the end, but a short-lived session no earlier than in the last
# quarter of its life: otherwise each request of such a session would ask STS anew.
_RENEW_BEFORE_SECONDS = 300.0
_RENEW_BEFORE_SHARE = 0.25


class Credentials(Protocol):
    """Where a request's signing keys come from."""

    async def current(self) -> AioCredentials:
        """Return keys that are good now, renewing them if their time is nearly over."""
        ...

    def expire(self, refused: AioCredentials) -> None:
        """Note that the service called these keys expired: the next `current` renews them."""
        ...


@dataclass(frozen=True, slots=True)
class Session:
    """Keys with a lifetime, as AssumeRole grants them."""

    keys: AioCredentials
    expires: datetime

    @classmethod
    def granted(cls, access_key: str, secret_key: str, token: str, expires: datetime) -> Session:
        """Return the session that STS granted."""
        return cls(AioCredentials(access_key, secret_key, token), expires)


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


class OwnCredentials:
    """The caller's own, from the SDK's chain, which renews those that can be renewed."""

    def __init__(self, profile: str | None) -> None:
        self._profile = profile
        self._lock = anyio.Lock(fast_acquire=True)
        self._source: AioCredentials | None = None
        self._handed: AioCredentials | None = None

    async def current(self) -> AioCredentials:
        """Return keys that are good now.

        Raises:
            StartError: the chain has none, or cannot get them.
        """
        async with self._lock:
            try:
                if self._source is None:
                    # A session of its own: what an expired one has cached must not come back.
                    session = AioSession(profile=self._profile)
                    self._source = await session.get_credentials()
                if self._source is None:
                    raise StartError(
                        "no AWS credentials found",
                        hint="log in (aws sso login), set AWS_PROFILE or --profile NAME, "
                        "or run where a role is attached",
                    )
                frozen = await self._source.get_frozen_credentials()
            except (BotoCoreError, ClientError, OSError, ValueError, KeyError) as error:
                # Profiles may run programs, read files and assume roles: all of it can fail.
                raise StartError(
                    f"no AWS credentials: {printable(str(error))}",
                    hint="check --profile, AWS_PROFILE and the files in ~/.aws",
                ) from error
            keys = (frozen.access_key, frozen.secret_key, frozen.token)
            handed = self._handed
            if handed is None or (handed.access_key, handed.secret_key, handed.token) != keys:
                self._handed = handed = AioCredentials(*keys)
            return handed

    def expire(self, refused: AioCredentials) -> None:
        """Ask the chain anew the next time, if no other task has done so already."""
        if self._handed is refused:
            self._source = self._handed = None
