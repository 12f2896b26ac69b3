"""An embedded AWS on loopback: real HTTP, real signatures, made-up data.

It answers STS (GetCallerIdentity, AssumeRole), Organizations (accounts and units), EC2
(DescribeRegions) and Image Builder (findings, aggregations, pipelines, images), throttles like the
service, and fails on demand:

    organization = Organization.generate(OrganizationSpec(accounts=12, findings=20_000, seed=7))
    async with Simulator(organization, behaviour=Behaviour(rate=20)) as simulator:
        os.environ.update(simulator.environment())

Any AWS client that honours AWS_ENDPOINT_URL may then talk to it.
"""

from harvester.simulator.behaviour import Behaviour, Identity, LastToken, Place, Rate
from harvester.simulator.blueprint import OrganizationSpec
from harvester.simulator.darkness import EVERYWHERE, Dark, DarkKind
from harvester.simulator.faults import Faults
from harvester.simulator.generator import make_findings
from harvester.simulator.ledger import RequestRecord
from harvester.simulator.organization import Account, Organization, Unit, with_iso_timestamps
from harvester.simulator.server import Simulator
from harvester.simulator.target import Finding, Image, Pipeline, Target

__all__ = [
    "EVERYWHERE",
    "Account",
    "Behaviour",
    "Dark",
    "DarkKind",
    "Faults",
    "Finding",
    "Identity",
    "Image",
    "LastToken",
    "Organization",
    "OrganizationSpec",
    "Pipeline",
    "Place",
    "Rate",
    "RequestRecord",
    "Simulator",
    "Target",
    "Unit",
    "make_findings",
    "with_iso_timestamps",
]
