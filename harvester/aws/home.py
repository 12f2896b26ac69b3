"""The region whose STS, EC2 and Organizations are asked on the caller's behalf.

It is the configured region where that is swept, else the first region of `--region`, else the
configured one. For `--region all` with no region configured, a partition has to be found without
asking another partition's endpoints: see `_evidence`. Where nothing tells, nothing is asked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from harvester.aws.chain import INSTANCE_METHODS
from harvester.aws.given import CredentialSource
from harvester.aws.partitions import Partitions
from harvester.aws.session import Session
from harvester.errors import SettingsError
from harvester.settings import RegionSettings

_GUESSES = ("us-west-2", "cn-northwest-1", "us-gov-west-1")
"""Regions that requests to an endpoint of the user's own are signed for, one of each partition."""

_OF_OPTION = "regions.include (--region)"


@dataclass(frozen=True, slots=True)
class Home:
    """The region to ask, and what is known of it.

    Attributes:
        region: the region's name.
        default: the region that is swept where no region is given.
        others: regions to try where this one does not know the caller's keys.
        guessed: whether the region is a guess. It is one only where requests go to an endpoint of
            the user's own; the caller's ARN then tells the partition.
    """

    region: str
    default: str
    others: tuple[str, ...] = ()
    guessed: bool = False


def named_regions(settings: RegionSettings, session: Session) -> list[tuple[str, str]]:
    """Return the regions that are given or decide something, each with what names it."""
    given = [(name, _OF_OPTION) for name in settings.include if name != "all"]
    configured = session.region()
    if given or configured is None:
        return given
    return [configured]


def home_region(settings: RegionSettings, session: Session) -> Home | None:
    """Return the home that the settings and the SDK's configuration name, None for none.

    Raises:
        SettingsError: no region is given, and none is configured.
    """
    configured = session.region()
    given = [name for name in settings.include if name != "all"]
    if configured and (not given or configured[0] in given):
        return Home(configured[0], configured[0])
    if given:
        return Home(given[0], given[0])
    if settings.include:
        return None
    raise SettingsError(
        f"{_OF_OPTION}: no region is given, and none is configured for the SDK: "
        "use --region NAME, --region all, or set AWS_REGION"
    )


async def find_home(
    session: Session, partitions: Partitions, endpoints: Mapping[str, str], chain: CredentialSource
) -> Home:
    """Return the home for `--region all` where no region is configured.

    Raises:
        SettingsError: nothing tells which partition the caller belongs to.
        CredentialsError: the caller's credentials cannot be loaded.
    """
    for region in _evidence(session, partitions, endpoints):
        return Home(region, region)
    if "sts" in endpoints:
        first, *others = _GUESSES
        return Home(first, first, tuple(others), guessed=True)
    if (await chain.load()).method in INSTANCE_METHODS:
        own = await chain.instance_region()
        if own and partitions.of_region(own):
            return Home(own, own)
    raise SettingsError(
        f"{_OF_OPTION}: 'all' needs a region to ask which regions there are, and none is "
        "configured: set AWS_REGION to a region of your partition, such as us-east-1, "
        "us-gov-west-1 or cn-north-1"
    )


def _evidence(
    session: Session, partitions: Partitions, endpoints: Mapping[str, str]
) -> Iterator[str]:
    """Yield regions of the caller's partition, the best evidence first.

    Regions of the profiles that the credentials come from; the regions of their SSO; the
    partitions of their roles' and MFA devices' ARNs; a region in the host of an endpoint.
    """
    chain = list(session.profile_chain())
    sso = [session.full_config.get("sso_sessions", {}).get(one.get("sso_session")) for one in chain]
    regions = [one.get("region") for one in chain]
    regions += [one.get("sso_region") for one in (*chain, *filter(None, sso))]
    yield from (one for one in regions if one and partitions.of_region(one))
    arns = [one.get(key) for one in chain for key in ("role_arn", "mfa_serial")]
    arns += [one.get("login_session") for one in chain]
    if not session.is_profile_given:  # one that is given beats the variables
        arns.append(os.environ.get("AWS_ROLE_ARN"))
    for partition in map(partitions.of_arn, arns):
        if partition is not None:
            yield partition.default
    for url in endpoints.values():
        labels = (urlsplit(url).hostname or "").split(".")
        yield from (label for label in labels if partitions.knows(label))
