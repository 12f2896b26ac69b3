"""The access keys that exist: one for a user of each account, and those of assumed roles."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

from harvester.simulator.behaviour import Identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from harvester.simulator.organization import Organization


class Keyring:
    """Issues access keys and knows whose they are."""

    def __init__(
        self, organization: Organization, resolver: Callable[[str], Identity | None] | None
    ) -> None:
        self._organization = organization
        self._resolver = resolver
        self._known: dict[str, Identity] = {}

    def find(self, access_key_id: str) -> Identity | None:
        """Whose a key is, None where nobody knows it."""
        known = self._known.get(access_key_id)
        if known is None and self._resolver is not None:
            return self._resolver(access_key_id)
        return known

    def user(self, account: str) -> Identity:
        """The lasting key of an account's user; the same one each time."""
        # Made from the organization, so that a simulator started anew accepts it still.
        text = f"{self._organization.id}/{account}".encode()
        digest = hmac.new(b"simulated user", text, hashlib.sha256).digest()
        key = "AKIA" + base64.b32encode(digest[:10]).decode()
        arn = f"arn:{self._organization.partition}:iam::{account}:user/operator"
        identity = Identity(key, base64.b64encode(digest[2:]).decode(), account, arn)
        return self._known.setdefault(key, identity)

    def session(self, account: str, role: str, name: str, expires: float) -> Identity:
        """A new key for a session of a role, good until `expires`, seconds since the epoch."""
        partition = self._organization.partition
        identity = Identity(
            access_key_id="ASIA" + base64.b32encode(secrets.token_bytes(10)).decode(),
            secret_key=base64.b64encode(secrets.token_bytes(30)).decode(),
            account=account,
            arn=f"arn:{partition}:sts::{account}:assumed-role/{role}/{name}",
            session_token=base64.b64encode(secrets.token_bytes(192)).decode(),
            expires=expires,
        )
        self._known[identity.access_key_id] = identity
        return identity
