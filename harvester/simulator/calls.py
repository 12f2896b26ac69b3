"""A call that got past the front door, as the services see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harvester.simulator.behaviour import Identity


@dataclass(frozen=True, slots=True)
class Call:
    """An operation, its parameters, and who asks for it where.

    `fault` is the name of the transient fault that strikes it, for those faults that the operation
    itself has to act out.
    """

    service: str
    operation: str
    region: str
    identity: Identity
    parameters: dict[str, Any]
    request_id: str
    fault: str | None = None

    @property
    def account(self) -> str:
        """The caller's account id."""
        return self.identity.account
