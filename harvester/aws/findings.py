"""ListImageScanFindings: one page of one query."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio

from harvester.aws.bodies import decode_page
from harvester.errors import RefusedError
from harvester.model import Page, Query
from harvester.paging.channel import Channel
from harvester.paging.slots import Slot

MOST_PER_PAGE = 100
"""The most that the newest service model allows (botocore 1.44.5); older ones say 25."""

SURE_PER_PAGE = 25
"""What every model allows."""

_FIRST_ANSWER_SECONDS = 2.0

_BAD_REQUEST = 400
# Refusals with status 400 that no other page size would change. Which code a size that is too
# large gets is not known, so that every other one is taken for it once.
_NOT_OF_THE_SIZE = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "OptInRequired",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)


class PageSizes:
    """What each region grants: learned from its first answer, shared by all accounts."""

    def __init__(self, asked: int | None) -> None:
        self._asked = asked or MOST_PER_PAGE
        self._granted: dict[str, int] = {}
        self._asking: dict[str, anyio.Event] = {}

    def of(self, region: str) -> int:
        """Return the page size to ask of a region."""
        return self._granted.get(region, self._asked)

    def is_known(self, region: str) -> bool:
        """Return whether nothing is to be found out of a region."""
        return region in self._granted or self._asked <= SURE_PER_PAGE

    def learn(self, region: str, size: int) -> None:
        """Note what a region grants."""
        self._granted[region] = size

    @asynccontextmanager
    async def turn(self, region: str) -> AsyncIterator[None]:
        """Hold the block back, for a moment, while another call finds out what is granted.

        A wide sweep would otherwise have as many calls refused as it has in flight. Only for
        a moment, since the first call may be of an account that is throttled for long.
        """
        asking = self._asking.get(region)
        if asking is not None:
            with anyio.move_on_after(_FIRST_ANSWER_SECONDS):
                await asking.wait()
            yield
            return
        asking = self._asking[region] = anyio.Event()
        try:
            yield
        finally:
            del self._asking[region]
            asking.set()


async def fetch_page(
    channel: Channel,
    sizes: PageSizes,
    query: Query,
    token: str | None,
    place: Slot | None = None,
) -> Page:
    """Return the page of `query` at `token`, the largest that the service grants.

    It takes a place, if there is one: see `Channel.call`. Raises a `ServiceError` where it cannot be had.
    """
    region = query.target.region
    if sizes.is_known(region):
        return await _fetch(channel, sizes, query, token, place)
    async with sizes.turn(region):
        return await _fetch(channel, sizes, query, token, place)


async def _fetch(
    channel: Channel, sizes: PageSizes, query: Query, token: str | None, place: Slot | None
) -> Page:
    region = query.target.region
    size = sizes.of(region)
    try:
        page = await _list(channel, query, token, size, place)
    except RefusedError as error:
        if size <= SURE_PER_PAGE or not _may_be_the_size(error):
            raise
        size = SURE_PER_PAGE
        page = await _list(channel, query, token, size, place)
    sizes.learn(region, size)
    return page


def _may_be_the_size(error: RefusedError) -> bool:
    return error.status == _BAD_REQUEST and error.code not in _NOT_OF_THE_SIZE


async def _list(
    channel: Channel, query: Query, token: str | None, size: int, place: Slot | None
) -> Page:
    parameters: dict[str, Any] = {"maxResults": size}
    if query.name:
        parameters["filters"] = [{"name": query.name, "values": [query.value]}]
    if token is not None:
        parameters["nextToken"] = token
    read = partial(decode_page, account=query.target.account, region=query.target.region)
    return await channel.call("list_image_scan_findings", parameters, read, place=place)
