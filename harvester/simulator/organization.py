"""A simulated organization as plain data: accounts, units, regions, and what each target holds."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Final

from harvester.simulator.target import Finding, Target
from harvester.simulator.vocabulary import REGIONS

if TYPE_CHECKING:
    from harvester.simulator.blueprint import OrganizationSpec

TargetSource = Callable[[str, str], Target]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Account:
    """A member account; `parent` is the id of the root or of the unit that it is in."""

    id: str
    name: str
    parent: str
    status: str = "ACTIVE"
    email: str = "aws@example.com"


@dataclass(frozen=True, slots=True)
class Unit:
    """An organizational unit; `parent` is the id of the root or of another unit."""

    id: str
    name: str
    parent: str


def _nothing(account: str, region: str) -> Target:
    del account, region
    return Target()


@dataclass(frozen=True)
class Organization:
    """An organization as plain data; every change gives a new one.

    management: the id of the management account, one of `accounts`.
    delegated: ids of the accounts that may read the organization, too.
    regions: what is enabled in every account but those named in `account_regions`.
    targets: what (account, region) holds; the `source` is asked for those not named here.
    """

    management: str
    accounts: tuple[Account, ...]
    regions: tuple[str, ...]
    partition: str = "aws"
    id: str = "o-a1b2c3d4e5"
    root: str = "r-a1b2"
    units: tuple[Unit, ...] = ()
    delegated: frozenset[str] = frozenset()
    account_regions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    targets: Mapping[tuple[str, str], Target] = field(default_factory=dict)
    source: TargetSource = _nothing

    @classmethod
    def generate(cls, spec: OrganizationSpec | None = None) -> Organization:
        """The organization of a spec; the same spec always gives the same one."""
        from harvester.simulator.blueprint import OrganizationSpec, draw  # noqa: PLC0415  # a cycle

        return draw(spec or OrganizationSpec())

    @classmethod
    def single(
        cls,
        account: str = "111122223333",
        region: str = "us-east-1",
        findings: Sequence[Finding] = (),
        *,
        partition: str = "aws",
    ) -> Organization:
        """One account, its own management account, with findings in one region."""
        return cls(
            management=account,
            accounts=(Account(account, "single", "r-a1b2"),),
            regions=(region,),
            partition=partition,
        ).with_findings(account, region, findings)

    def with_findings(self, account: str, region: str, findings: Sequence[Finding]) -> Organization:
        """The same, with these findings, and the pipelines and images they name, in a target."""
        return self.with_target(account, region, Target.of(findings))

    def with_target(self, account: str, region: str, target: Target) -> Organization:
        """The same, with `target` in place of what `account` held in `region`."""
        return replace(self, targets={**self.targets, (account, region): target})

    def account(self, account_id: str) -> Account | None:
        """The account of an id, None where it is not in the organization."""
        return self._by_id.get(account_id)

    @cached_property
    def _by_id(self) -> dict[str, Account]:
        return {account.id: account for account in self.accounts}

    def enabled_regions(self, account_id: str) -> tuple[str, ...]:
        """The regions that are enabled in an account."""
        return self.account_regions.get(account_id, self.regions)

    @cached_property
    def known_regions(self) -> frozenset[str]:
        """All regions that exist: those of the partition, and any other that is enabled."""
        enabled = (self.regions, *self.account_regions.values())
        partition = REGIONS.get(self.partition, ())
        return frozenset(partition).union(*enabled)

    def target(self, account_id: str, region: str) -> Target:
        """What an account holds in a region; a place never heard of holds nothing."""
        known = self.targets.get((account_id, region))
        return self.source(account_id, region) if known is None else known

    def places(self) -> Iterator[tuple[str, str]]:
        """Every (account id, enabled region) of the ACTIVE accounts, in a stable order."""
        for account in self.accounts:
            if account.status == "ACTIVE":
                for region in self.enabled_regions(account.id):
                    yield account.id, region

    def findings(self, account_id: str, region: str) -> list[Finding]:
        """The findings of a target as on the wire, a copy of its own."""
        findings = self.target(account_id, region).findings
        # Those made on reading are copies already, and a deep copy costs more than making them.
        return copy.deepcopy(findings) if isinstance(findings, list) else list(findings)

    def all_findings(self) -> list[Finding]:
        """The findings of all `places`, as on the wire."""
        return [finding for place in self.places() for finding in self.findings(*place)]

    def expected(self, account_id: str | None = None, region: str | None = None) -> list[Finding]:
        """The findings of all `places`, or of those of one account or region, with ISO timestamps.

        This is what the lines of a sweep's output have to be, in any order.
        """
        return [
            with_iso_timestamps(finding)
            for place in self.places()
            if account_id in (None, place[0]) and region in (None, place[1])
            for finding in self.findings(*place)
        ]


def with_iso_timestamps(finding: Finding) -> Finding:
    """A finding with its four timestamps as ISO 8601 in UTC, to the millisecond."""
    changed = dict(finding)
    for name in ("firstObservedAt", "updatedAt"):
        if name in changed:
            changed[name] = _iso(changed[name])
    details = changed.get("packageVulnerabilityDetails")
    if isinstance(details, dict):
        changed["packageVulnerabilityDetails"] = {
            key: _iso(value) if key in ("vendorCreatedAt", "vendorUpdatedAt") else value
            for key, value in details.items()
        }
    return changed


def _iso(seconds: float) -> str:
    moment = _EPOCH + timedelta(milliseconds=round(seconds * 1000))
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
