"""Credentials across processes: the first one holds them, the others borrow the keys."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import anyio
from aiobotocore.credentials import AioCredentials

from harvester.aws.credentials import Credentials
from harvester.errors import HarvesterError
from harvester.processes.messages import Failure, Grant, Wish
from harvester.text import Secret

_log = logging.getLogger("harvester")


class Lender:
    """The credentials of the accounts that other processes read; the only one to hold them."""

    def __init__(self) -> None:
        self._credentials: dict[str, Credentials] = {}

    def keep(self, account: str, credentials: Credentials) -> None:
        """Have the credentials of an account ready."""
        self._credentials[account] = credentials

    async def grant(self, wish: Wish) -> Grant:
        """Return the keys that are good now, or why there are none."""
        credentials = self._credentials[wish.account]
        try:
            keys = await credentials.current()
            if keys.access_key == wish.refused:
                credentials.expire(keys)
                keys = await credentials.current()
        except HarvesterError as error:
            return Grant(wish.account, failure=Failure.of(error))
        except Exception as error:  # noqa: BLE001  # as in a visit: it costs this account alone
            _log.exception(
                "%s: a defect of harvester, please report it",
                wish.account,
                extra={"event": "internal_error", "account": wish.account},
            )
            failure = HarvesterError(f"a defect of harvester: {type(error).__name__}")
            return Grant(wish.account, failure=Failure.of(failure))
        # As plain text: a secret of another type would not be encoded.
        token = None if keys.token is None else str(keys.token)
        secret, seconds = str(keys.secret_key), credentials.good_for()
        return Grant(wish.account, keys.access_key, secret, token, seconds)


class Borrower:
    """The keys of one account, as a channel needs them.

    Args:
        ask: sends a wish, and returns what was granted.
        now: a monotonic clock, in seconds.
    """

    def __init__(
        self, account: str, ask: Callable[[Wish], Awaitable[Grant]], now: Callable[[], float]
    ) -> None:
        self._account = account
        self._ask = ask
        self._now = now
        self._lock = anyio.Lock()
        self._keys: AioCredentials | None = None
        self._refused: str | None = None
        self._until = 0.0

    async def current(self) -> AioCredentials:
        """Return keys that are good now. Raises the error for which there are none."""
        if (keys := self._on_loan()) is not None:
            return keys
        async with self._lock:
            if (keys := self._on_loan()) is not None:
                return keys
            grant = await self._ask(Wish(self._account, self._refused))
            if grant.failure is not None:
                raise grant.failure.error()
            keys = _keys(grant)
            self._keys, self._until, self._refused = keys, self._now() + grant.seconds, None
            return keys

    def _on_loan(self) -> AioCredentials | None:
        return self._keys if self._now() < self._until else None

    def expire(self, refused: AioCredentials) -> None:
        """Ask for others the next time, if no other task has done so already."""
        access_key: str = refused.access_key
        if self._keys is refused:
            self._keys, self._refused = None, access_key

    def good_for(self) -> float:
        """Return for how many seconds the keys need not be asked for anew."""
        return max(0.0, self._until - self._now())


def _keys(grant: Grant) -> AioCredentials:
    token = None if grant.token is None else Secret(grant.token)
    return AioCredentials(grant.access_key, Secret(grant.secret_key), token)
