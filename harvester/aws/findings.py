"""ListImageScanFindings: one page of one query."""

from __future__ import annotations

from functools import partial
from typing import Any

from harvester.aws.bodies import decode_page
from harvester.aws.pagesizes import SURE_PER_PAGE, PageSizes
from harvester.errors import RefusedError
from harvester.model import Page, Query
from harvester.paging.channel import Channel
from harvester.paging.slots import Slot

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
    if sizes.is_known(query.target.region):
        return await _fetch(channel, sizes, query, token, place)
    async with sizes.turn(query.target.region):
        return await _fetch(channel, sizes, query, token, place)


async def _fetch(
    channel: Channel, sizes: PageSizes, query: Query, token: str | None, place: Slot | None
) -> Page:
    size = sizes.next_for(query.target)
    try:
        page = await _list(channel, query, token, size, place)
    except RefusedError as error:
        if size <= SURE_PER_PAGE or not _may_be_the_size(error):
            raise
        page = await _list(channel, query, token, SURE_PER_PAGE, place)
        sizes.refused(query.target)  # not before: another reason refuses every size
        return page
    sizes.granted(query.target, size)
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
