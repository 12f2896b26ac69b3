"""Entering AWS: the caller's credentials, the region to ask first, and regions that do not exist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from aiobotocore.session import AioSession

from harvester.aws.accounts import Accounts
from harvester.aws.chain import Chain
from harvester.aws.clients import Clients
from harvester.aws.credentials import OwnCredentials
from harvester.aws.given import CredentialSource, GivenSession
from harvester.aws.home import Home, find_home, home_region, named_regions
from harvester.aws.known_regions import (
    Listed,
    list_regions,
    refuse_malformed,
    refuse_unknown,
    unknown_regions,
)
from harvester.aws.partitions import Partitions
from harvester.errors import RefusedError, SettingsError, StartError
from harvester.model import Caller
from harvester.paging.channel import Exchange
from harvester.settings import Settings


@dataclass(slots=True)
class Entry:
    """The accounts of a sweep, and the region that is asked about them.

    Attributes:
        accounts: the accounts.
        home: the region that is asked.
        partitions: the regions that the SDK knows.
    """

    accounts: Accounts
    home: Home
    partitions: Partitions

    async def caller(self) -> Caller:
        """Return who calls, and ask a region of the caller's own partition from now on.

        Raises:
            StartError: there are no credentials, or STS does not take them.
        """
        guessed, refusal = self.home.guessed, None
        for region in (self.home.region, *self.home.others):
            self._move_to(region)
            try:
                caller = await self.accounts.caller()
            except StartError as error:
                refusal = refusal or error
                if not isinstance(error.__cause__, RefusedError):
                    break
            else:
                known = self.partitions.by_name.get(caller.partition)
                if guessed and known:
                    self._move_to(known.default)
                return caller
        assert refusal is not None  # noqa: S101  # the loop ends by an error or returns
        raise refusal

    def _move_to(self, region: str) -> None:
        if region != self.home.region:
            self.home = Home(region, region)
            self.accounts.move_to(region)


async def enter(
    settings: Settings, clients: Clients, exchange: Exchange, given: AioSession | None = None
) -> Entry:
    """Return the entry to AWS that the settings and the SDK's configuration describe.

    The credentials are those of a `given` session, else those of the SDK's own chain.

    Raises:
        SettingsError: a region does not exist; or none is given, and none can be found.
        CredentialsError: the caller's credentials have to be loaded for that, and cannot be.
    """
    session = clients.session
    partitions = Partitions.of(session)
    aws = settings.aws
    chain: CredentialSource = (
        Chain(aws.profile, aws.endpoint_url, clients.http_session)
        if given is None
        else GivenSession(given)
    )
    home = home_region(settings.regions, session)
    named = named_regions(settings.regions, session)
    refuse_malformed(named, partitions)
    unknown = unknown_regions(named, partitions)
    if home is None:
        home = await find_home(session, partitions, clients.endpoints, chain)
    elif unknown:
        region = await _known(named, unknown, partitions, clients, chain)
        home = replace(home, region=region)
    own = OwnCredentials.of_chain(chain.in_region(home.region))
    if unknown:
        refuse_unknown(
            unknown, await list_regions(exchange.channel("ec2", home.region, own)), partitions
        )
    return Entry(Accounts(settings.accounts, exchange, own, home.region), home, partitions)


async def _known(
    named: list[tuple[str, str]],
    unknown: Mapping[str, list[str]],
    partitions: Partitions,
    clients: Clients,
    chain: CredentialSource,
) -> str:
    """Return a region that exists, whose EC2 can say whether the unknown ones do."""
    names = [name for name, _ in named]
    configured = clients.session.region()
    if configured is not None:
        names.append(configured[0])
    for name in names:
        if partitions.knows(name):
            return name
    for name in names:
        if (partition := partitions.of_region(name)) is not None:
            return partition.default
    try:
        return (await find_home(clients.session, partitions, clients.endpoints, chain)).region
    except SettingsError:
        refuse_unknown(unknown, Listed(reason="no region that exists is configured"), partitions)
        raise
