"""Credentials of an application's own aiobotocore session, in place of the SDK's chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self

from aiobotocore.session import AioSession

from harvester.aws.chain import Loaded
from harvester.errors import CredentialsError, HarvesterError
from harvester.text import Secret, printable

_SOURCE = "the session of the application"


class CredentialSource(Protocol):
    """Where the caller's own keys come from: see `harvester.aws.chain.Chain`."""

    async def load(self, *, ask: bool = True) -> Loaded:
        """Return keys that are valid now. Raises CredentialsError where there are none."""
        ...

    async def instance_region(self) -> str | None:
        """Return the region of the instance that this process runs on, None if not known."""
        ...

    def in_region(self, region: str) -> Self:
        """Return the same source whose own requests go to a region."""
        ...


@dataclass(frozen=True, slots=True)
class GivenSession:
    """Loads the keys that a session has, and refreshes, as its owner configured it."""

    session: AioSession

    async def load(self, *, ask: bool = True) -> Loaded:  # noqa: ARG002  # nobody is asked
        """Return the session's keys.

        Raises:
            CredentialsError: it has none, or cannot refresh them.
        """
        try:
            found = await self.session.get_credentials()
            frozen = None if found is None else await found.get_frozen_credentials()
        except HarvesterError:
            raise
        except Exception as error:  # noqa: BLE001  # sessions run code of their owners
            # The text of the error may hold a secret of its owner: only its kind is told.
            kind = printable(type(error).__name__)
            raise CredentialsError(
                f"the given session has no credentials: {kind} was raised"
            ) from None
        if frozen is None:
            raise CredentialsError(
                "the given session has no credentials",
                hint="pass a session that has some, or none to use the SDK's own chain",
            )
        token = None if frozen.token is None else Secret(frozen.token)
        expires: Any = getattr(found, "_expiry_time", None)
        method = str(getattr(found, "method", "given"))
        return Loaded(frozen.access_key, Secret(frozen.secret_key), token, expires, _SOURCE, method)

    async def instance_region(self) -> str | None:
        """Return None: the session itself names its region."""
        return None

    def in_region(self, region: str) -> GivenSession:  # noqa: ARG002  # a protocol's method
        """Return the same source: its requests are its owner's."""
        return self
