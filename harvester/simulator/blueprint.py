"""From a spec to an organization: who is in it, how it is nested, and how many findings where."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Final

from harvester.simulator.generator import GeneratedTargets
from harvester.simulator.organization import Account, Organization, Unit
from harvester.simulator.vocabulary import STAGES, TEAMS

_LETTERS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class OrganizationSpec:
    """What an organization should look like.

    accounts: how many, the management account and the suspended ones among them.
    regions: what is enabled everywhere, but for `restricted` accounts that lack the last one.
    findings: how many there are in all; exactly so.
    suspended: how many of the accounts are SUSPENDED; these hold nothing.
    empty_share: which share of the targets holds no finding.
    skew: how unequal the others are: 0 is equal, 1 is Zipf's law.
    depth: how many levels of units there are below the root; 0 puts all accounts in the root.
    without_pipeline: which share of the findings is of images built outside any pipeline.
    """

    accounts: int = 12
    regions: tuple[str, ...] = ("us-east-1", "eu-west-1", "ap-southeast-2")
    findings: int = 20_000
    seed: int = 0
    suspended: int = 0
    empty_share: float = 0.25
    skew: float = 1.0
    depth: int = 3
    without_pipeline: float = 0.15
    restricted: int = 0
    partition: str = "aws"

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn; raises ValueError."""
        if self.accounts < 1 or not 0 <= self.suspended < self.accounts:
            raise ValueError("accounts must be 1 or more, and some of them not suspended")
        if not self.regions or self.findings < 0:
            raise ValueError("there must be a region, and findings cannot be negative")
        if not 0 <= self.empty_share <= 1 or not 0 <= self.without_pipeline <= 1:
            raise ValueError("empty_share and without_pipeline are shares, from 0 to 1")


def draw(spec: OrganizationSpec) -> Organization:
    """The organization of a spec."""
    rng = random.Random(f"organization {spec.seed}")
    root = f"r-{_text(rng, 4)}"
    units = _units(rng, root, spec.depth)
    accounts = _accounts(rng, spec, root, units)
    restricted = [account.id for account in accounts[1 : 1 + spec.restricted]]
    organization = Organization(
        management=accounts[0].id,
        accounts=accounts,
        regions=spec.regions,
        partition=spec.partition,
        id=f"o-{_text(rng, 10)}",
        root=root,
        units=units,
        delegated=frozenset(account.id for account in accounts[1:2] if account.status == "ACTIVE"),
        account_regions=dict.fromkeys(restricted, spec.regions[:-1]) if spec.regions[1:] else {},
    )
    sizes = _sizes(rng, spec, list(organization.places()))
    source = GeneratedTargets(spec.seed, spec.partition, sizes, spec.without_pipeline)
    return replace(organization, source=source)


def _text(rng: random.Random, length: int) -> str:
    return "".join(rng.choices(_LETTERS, k=length))


def _units(rng: random.Random, root: str, depth: int) -> tuple[Unit, ...]:
    """Units down to `depth`: only Workloads goes deeper than the first level."""
    names = (("Security", "Infrastructure", "Sandbox", "Workloads"), STAGES, TEAMS[:4])
    units: list[Unit] = []
    parents = [root]
    for level in range(depth):
        below = names[level] if level < len(names) else (f"Level {level + 1}",)
        made = [
            Unit(f"ou-{root[2:]}-{_text(rng, 8)}", name, parent)
            for parent in parents
            for name in below
        ]
        units += made
        parents = [unit.id for unit in made if level or unit.name == "Workloads"]
    return tuple(units)


def _accounts(
    rng: random.Random, spec: OrganizationSpec, root: str, units: tuple[Unit, ...]
) -> tuple[Account, ...]:
    """The management account in the root, the delegated one second, the suspended ones last."""
    ids = rng.sample(range(100_000_000_000, 1_000_000_000_000), spec.accounts)
    leaves = [unit.id for unit in units if all(other.parent != unit.id for other in units)]
    first_suspended = spec.accounts - spec.suspended
    accounts = [Account(str(ids[0]), "management", root, email="aws+management@example.com")]
    for number in range(1, spec.accounts):
        team, stage = rng.choice(TEAMS), rng.choice(("prod", "staging", "dev"))
        name = "security-tooling" if number == 1 else f"{team}-{stage}-{number:03}"
        parent = units[0].id if number == 1 and units else rng.choice(leaves or [root])
        status = "SUSPENDED" if number >= first_suspended else "ACTIVE"
        email = f"aws+{number:04}@example.com"
        accounts.append(Account(str(ids[number]), name, parent, status, email))
    return tuple(accounts)


def _sizes(
    rng: random.Random, spec: OrganizationSpec, places: list[tuple[str, str]]
) -> dict[tuple[str, str], int]:
    """How many findings each place holds: skewed, and `spec.findings` in all."""
    rng.shuffle(places)
    holding = places[: max(1, round(len(places) * (1 - spec.empty_share)))]
    weights = [1 / (rank + 1) ** spec.skew for rank in range(len(holding))]
    total, given, running, sizes = sum(weights), 0, 0.0, {}
    for place, weight in zip(holding, weights, strict=True):
        # Rounding the running sum, not each share, makes the whole come out exactly.
        running += weight
        upto = round(spec.findings * running / total)
        sizes[place], given = upto - given, upto
    return {place: size for place, size in sizes.items() if size}
