"""What every request has to pass before a service looks at it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from harvester.simulator.errors import front_door
from harvester.simulator.signatures import request_time, verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from harvester.simulator.behaviour import Identity
    from harvester.simulator.keyring import Keyring
    from harvester.simulator.signatures import Received, Scope

_LARGEST_SKEW: Final = 900


class FrontDoor:
    """Tells whose a request is, from its signature; `clock` is in seconds since the epoch."""

    def __init__(self, keyring: Keyring, clock: Callable[[], float]) -> None:
        self._keyring = keyring
        self._clock = clock

    def admit(
        self, received: Received, scope: Scope | None, service: str, *, clock_skew: float
    ) -> Identity:
        """The caller; raises AwsError where the request is not proven to be theirs."""
        if scope is None:
            signed = bool(received.header("Authorization"))
            raise front_door("incomplete" if signed else "unsigned", service)
        identity = self._keyring.find(scope.access_key_id)
        token = received.header("X-Amz-Security-Token") or None
        if identity is None or token != identity.session_token:
            raise front_door("unknown_key", service)
        moment = request_time(received)
        if moment is None:
            raise front_door("incomplete", service)
        if abs(self._clock() + clock_skew - moment) > _LARGEST_SKEW:
            raise front_door("skewed", service)
        if not verify(received, scope, identity.secret_key):
            raise front_door("signature", service)
        if identity.expires is not None and self._clock() >= identity.expires:
            raise front_door("expired", service)
        return identity


def guess_service(received: Received) -> str:
    """The service that a request without a scope is probably meant for."""
    if received.header("X-Amz-Target"):
        return "organizations"
    if received.header("Content-Type").startswith("application/x-www-form-urlencoded"):
        return "sts"
    return "imagebuilder"
