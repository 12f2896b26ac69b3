"""ListImageScanFindings: one page of one query."""

from __future__ import annotations

from functools import partial
from typing import Any

from harvester.aws.bodies import decode_page
from harvester.errors import RefusedError
from harvester.model import Page, Query
from harvester.paging.channel import Channel

MOST_PER_PAGE = 100
"""The most that the newest service model allows (botocore 1.44.5); older ones say 25."""

SURE_PER_PAGE = 25
"""What every model allows."""

_VALIDATION_CODES = frozenset(
    {"InvalidRequestException", "ValidationException", "InvalidParameterValueException"}
)


class PageSizes:
    """What each region grants: learned from its first refusal, shared by all accounts."""

    def __init__(self, asked: int | None) -> None:
        self._asked = asked or MOST_PER_PAGE
        self._granted: dict[str, int] = {}

    def of(self, region: str) -> int:
        """Return the page size to ask of a region."""
        return self._granted.get(region, self._asked)

    def lower(self, region: str) -> None:
        """Note that a region grants no more than every model allows."""
        self._granted[region] = SURE_PER_PAGE


async def fetch_page(channel: Channel, sizes: PageSizes, query: Query, token: str | None) -> Page:
    """Return the page of `query` at `token`, the largest that the service grants.

    Raises a `ServiceError` where it cannot be had.
    """
    size = sizes.of(query.target.region)
    try:
        return await _list(channel, query, token, size)
    except RefusedError as error:
        if size <= SURE_PER_PAGE or error.code not in _VALIDATION_CODES:
            raise
    page = await _list(channel, query, token, SURE_PER_PAGE)
    sizes.lower(query.target.region)
    return page


async def _list(channel: Channel, query: Query, token: str | None, size: int) -> Page:
    parameters: dict[str, Any] = {"maxResults": size}
    if query.name:
        parameters["filters"] = [{"name": query.name, "values": [query.value]}]
    if token is not None:
        parameters["nextToken"] = token
    read = partial(decode_page, account=query.target.account, region=query.target.region)
    return await channel.call("list_image_scan_findings", parameters, read)
