"""The simulated services, put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harvester.simulator.ec2 import Ec2
from harvester.simulator.errors import AwsError
from harvester.simulator.findings import FindingOperations
from harvester.simulator.images import ImageOperations
from harvester.simulator.organizations import Organizations
from harvester.simulator.protocols import Ec2Xml, QueryXml, RestJson, TargetJson
from harvester.simulator.sts import Sts
from harvester.simulator.tokens import PageTokens

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harvester.simulator.behaviour import Behaviour
    from harvester.simulator.calls import Call
    from harvester.simulator.faults import Faults
    from harvester.simulator.keyring import Keyring
    from harvester.simulator.organization import Organization
    from harvester.simulator.protocols import WireProtocol
    from harvester.simulator.store import Store


@dataclass(frozen=True, slots=True)
class Service:
    """A service: how it speaks, what it does, and what it calls an operation it does not know."""

    protocol: WireProtocol
    operations: Mapping[str, Callable[[Call], Any]]
    unknown_code: str = "UnknownOperationException"

    def unknown(self, operation: str) -> AwsError:
        """The refusal of an operation that is not simulated."""
        return AwsError(self.unknown_code, 400, f"The operation '{operation}' is not known.")


def build_services(
    organization: Organization,
    store: Store,
    behaviour: Behaviour,
    faults: Callable[[], Faults],
    *,
    keyring: Keyring,
    clock: Callable[[], float],
) -> dict[str, Service]:
    """Every service by its name in a signature; `faults` gives the faults of the moment."""
    # A key made from the organization keeps tokens good when a simulator is started anew.
    key = f"tokens of {organization.id}".encode()
    tokens = PageTokens(key, behaviour.token_lifetime, clock)
    findings = FindingOperations(store, behaviour, faults, tokens)
    images = ImageOperations(store, behaviour, tokens)
    tree = Organizations(organization, behaviour, faults, PageTokens(key, None, clock))
    sts = Sts(organization, behaviour, faults, keyring, clock)
    sts_xml = QueryXml("https://sts.amazonaws.com/doc/2011-06-15/")
    ec2_xml = Ec2Xml("http://ec2.amazonaws.com/doc/2016-11-15/")
    return {
        "imagebuilder": Service(RestJson(), {**findings.operations, **images.operations}),
        "organizations": Service(TargetJson(), tree.operations),
        "sts": Service(sts_xml, sts.operations, "InvalidAction"),
        "ec2": Service(ec2_xml, Ec2(organization, faults).operations, "InvalidAction"),
    }
