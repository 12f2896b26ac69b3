"""Credentials that are refreshed in time: the caller's own, and one role for each other account."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol, Self

import anyio
from aiobotocore.credentials import AioCredentials

from harvester.aws.given import CredentialSource
from harvester.errors import CredentialsError, HarvesterError
from harvester.text import Secret

# Refresh five minutes before the end, but keys with a short life no earlier than in its last
# quarter: otherwise each request would ask their source.
_REFRESH_BEFORE_SECONDS = 300.0
_REFRESH_BEFORE_SHARE = 0.25

# After a failed refresh. While the keys are valid, another one follows in the time left; once
# they are not, whoever asks gets the same error, and the source is left alone.
_RETRY_SHARE = 0.25
_RETRY_SECONDS = (2.0, 60.0)
_FAILED_SECONDS = 15.0

_LENT_SECONDS = 30.0
"""How long keys without an end are lent to another process."""

_NEVER = datetime.max.replace(tzinfo=UTC)
_log = logging.getLogger("harvester")


class Credentials(Protocol):
    """Where a request's signing keys come from."""

    async def current(self) -> AioCredentials:
        """Return keys that are good now, refreshing them if their time is nearly over."""
        ...

    def expire(self, refused: AioCredentials) -> None:
        """Note that the service called these keys expired: the next `current` refreshes them."""
        ...

    def good_for(self) -> float:
        """Return for how many seconds the keys that `current` gave need not be asked for anew."""
        ...


@dataclass(frozen=True, slots=True)
class Session:
    """Keys with a lifetime, as AssumeRole grants them; `expires` is None for permanent ones."""

    keys: AioCredentials
    expires: datetime | None
    source: str = "the role session"

    @classmethod
    def granted(
        cls, access_key: str, secret_key: str, token: str | None, expires: datetime | None
    ) -> Session:
        """Return the session that STS granted."""
        return cls(_veiled(access_key, secret_key, token), expires)

    @property
    def end(self) -> datetime:
        """The time from which the keys are not valid any more."""
        return self.expires or _NEVER

    def same_keys(self, keys: AioCredentials) -> bool:
        """Whether these are the keys of this session."""
        mine = (self.keys.access_key, self.keys.secret_key, self.keys.token)
        return mine == (keys.access_key, keys.secret_key, keys.token)


class RefreshedCredentials:
    """Keys from a source that is asked once for all tasks, and again near the end of their life.

    One refresh in the last quarter of the life, at most five minutes before the end. While one
    task refreshes, the others use the keys that are still valid; so they do where it fails. Once
    there are no valid keys, errors of the source pass to whoever asks.

    Args:
        obtain: asks the source.
        now: the time, with its zone.
    """

    def __init__(
        self,
        obtain: Callable[[], Awaitable[Session]],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._obtain = obtain
        self._now = now
        self._lock = anyio.Lock(fast_acquire=True)
        self._session: Session | None = None
        self._refused: AioCredentials | None = None
        self._next = datetime.min.replace(tzinfo=UTC)
        self._failure: HarvesterError | None = None

    async def current(self) -> AioCredentials:
        """Return keys that are good now.

        Raises:
            HarvesterError: the source has none, now or a moment ago.
        """
        if (keys := self._at_hand()) is not None:
            return keys
        async with self._lock:
            if (keys := self._at_hand(refreshing=False)) is None:
                keys = await self._refresh()
            return keys

    def expire(self, refused: AioCredentials) -> None:
        """Refresh at the next `current`, unless another task has done so already."""
        session = self._session
        if session is None or session.keys is not refused:
            return
        if self._refused is not None and session.same_keys(self._refused):
            return  # the source gave the refused keys again: it is not asked for each request
        self._refused = refused
        self._next = datetime.min.replace(tzinfo=UTC)

    def good_for(self) -> float:
        """Return for how many seconds the keys need not be asked for anew."""
        if self._next == _NEVER:
            return _LENT_SECONDS
        return max(0.0, (self._next - self._now()).total_seconds())

    def _at_hand(self, *, refreshing: bool = True) -> AioCredentials | None:
        """Return keys that may be used without a refresh, None where one is due."""
        now = self._now()
        if now < self._next:
            if self._failure is not None and not self._valid(now):
                raise self._failure
            return self._session.keys if self._session else None
        if refreshing and self._session and self._lock.locked() and self._valid(now):
            return self._session.keys  # another task refreshes
        return None

    def _valid(self, now: datetime) -> bool:
        session = self._session
        return session is not None and session.keys is not self._refused and now < session.end

    async def _refresh(self) -> AioCredentials:
        try:
            session = await self._obtain()
        except HarvesterError as error:
            return self._after_failure(error)
        self._failure = None
        old, self._session = self._session, session
        if old is not None and session.same_keys(old.keys):
            return self._after_same_keys(old)
        self._refused = None
        self._next = _refresh_time(session, self._now())
        return session.keys

    def _after_same_keys(self, old: Session) -> AioCredentials:
        """Hand out the keys that the source gave again; those refused are asked for later."""
        now = self._now()
        session = self._session = Session(old.keys, old.expires, old.source)
        if self._refused is not None:
            self._next = now + timedelta(seconds=_FAILED_SECONDS)
        else:
            self._next = min(now + self._pause(session, now), session.end)
        return session.keys

    def _after_failure(self, error: HarvesterError) -> AioCredentials:
        now = self._now()
        known, self._failure = self._failure, error
        if self._session is None or not self._valid(now):
            self._next = now + timedelta(seconds=_FAILED_SECONDS)
            raise error
        if known is None and self._is_news(error):
            _log.warning(
                "%s cannot be refreshed, the keys are valid until %s and are used until then: %s",
                self._session.source,
                self._session.end.isoformat(timespec="seconds"),
                error,
                extra={"event": "credentials_not_refreshed"},
            )
        self._next = min(now + self._pause(self._session, now), self._session.end)
        return self._session.keys

    def _is_news(self, error: HarvesterError) -> bool:  # noqa: ARG002  # roles look at it
        """Whether nobody else logs this error."""
        return True

    def _pause(self, session: Session, now: datetime) -> timedelta:
        least, most = _RETRY_SECONDS
        left = (session.end - now).total_seconds()
        return timedelta(seconds=min(most, max(least, left * _RETRY_SHARE)))


class RoleCredentials(RefreshedCredentials):
    """A role's session, assumed at first use."""

    def _is_news(self, error: HarvesterError) -> bool:
        # The caller's own credentials tell of themselves, and once for all accounts.
        return not isinstance(error, CredentialsError)


class OwnCredentials(RefreshedCredentials):
    """The caller's own, from the SDK's chain.

    Raises CredentialsError where the chain has none, or cannot get them.
    """

    @classmethod
    def of_chain(cls, chain: CredentialSource) -> Self:
        """Return the credentials that a chain loads."""
        loaded = False

        async def obtain() -> Session:
            nonlocal loaded
            found = await chain.load(ask=not loaded)
            loaded = True
            keys = _veiled(found.access_key, found.secret_key, found.token)
            return Session(keys, found.expires, found.source)

        return cls(obtain)


def _refresh_time(session: Session, now: datetime) -> datetime:
    if session.expires is None:
        return _NEVER
    life = (session.expires - now).total_seconds()
    early = min(_REFRESH_BEFORE_SECONDS, life * _REFRESH_BEFORE_SHARE)
    return session.expires - timedelta(seconds=max(early, 0.0))


def _veiled(access_key: str, secret_key: str, token: str | None) -> AioCredentials:
    return AioCredentials(access_key, Secret(secret_key), None if token is None else Secret(token))
