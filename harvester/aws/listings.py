"""Lists that AWS answers in pages: read to their end, each page checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from harvester.aws.bodies import decode_list
from harvester.concurrency import each
from harvester.errors import ChainError, DamagedAnswerError
from harvester.names import operation_name
from harvester.paging.channel import Channel

_LISTINGS_AT_ONCE = 8
Listed = tuple[list[dict[str, Any]], str | None]


async def list_pipelines(channel: Channel) -> list[dict[str, Any]]:
    """Return the image pipelines of the channel's account and region, as the API names them."""
    return await _list_raw(channel, "list_image_pipelines", "imagePipelineList", {"maxResults": 25})


async def list_parsed(
    channel: Channel, operation: str, key: str, parameters: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Return all items of a listing that the SDK parses, of Organizations or EC2."""

    def read(answer: dict[str, Any]) -> Listed:
        items, token = answer.get(key), answer.get("NextToken") or None
        # The SDK parses garbage as an answer without the list; a real one always has it.
        if not isinstance(items, list):
            raise _damaged(operation, f"the answer has no list of {key}")
        if not all(isinstance(item, dict) for item in items):
            raise _damaged(operation, f"an item of the answer's {key} is not an object")
        if not (token is None or isinstance(token, str)):
            raise _damaged(operation, "the answer's NextToken is not a string")
        return items, token

    return await list_all(channel, operation, parameters or {}, read, "NextToken")


def _damaged(operation: str, message: str) -> DamagedAnswerError:
    return DamagedAnswerError("DamagedAnswer", message, operation=operation_name(operation))


async def _list_raw(
    channel: Channel, operation: str, key: str, parameters: dict[str, Any]
) -> list[dict[str, Any]]:
    read = partial(
        decode_list,
        key=key,
        operation=operation_name(operation),
        account=channel.account or "",
        region=channel.region,
    )
    return await list_all(channel, operation, parameters, read, "nextToken")


async def list_image_versions(channel: Channel) -> list[str]:
    """Return the ARNs of the versions of the account's own images in the region."""
    parameters = {"owner": "Self", "maxResults": 25}
    found = await _list_raw(channel, "list_images", "imageVersionList", parameters)
    return _arns(found)


async def list_builds(channel: Channel, versions: Sequence[str]) -> list[str]:
    """Return the ARNs of all builds of some image versions; a call for each version."""
    return await _list_builds(channel, "list_image_build_versions", "imageVersionArn", versions)


async def list_pipeline_builds(channel: Channel, pipelines: Sequence[str]) -> list[str]:
    """Return the ARNs of all builds that some pipelines made; a call for each pipeline."""
    return await _list_builds(channel, "list_image_pipeline_images", "imagePipelineArn", pipelines)


async def _list_builds(
    channel: Channel, operation: str, name: str, values: Sequence[str]
) -> list[str]:
    found: list[str] = []

    async def add(value: str) -> None:
        parameters = {name: value, "maxResults": 25}
        found.extend(_arns(await _list_raw(channel, operation, "imageSummaryList", parameters)))

    await each(values, _LISTINGS_AT_ONCE, add)
    return sorted(set(found))


def _arns(items: Sequence[dict[str, Any]]) -> list[str]:
    return [arn for item in items if isinstance(arn := item.get("arn"), str)]


async def list_all(
    channel: Channel,
    operation: str,
    parameters: dict[str, Any],
    read: Callable[[Any], Listed],
    token_name: str,
) -> list[dict[str, Any]]:
    """Return all items of a listing, page by page, each read by `read`.

    Raises a `ServiceError` where a page cannot be had, `ChainError` where the pages go round.
    """
    items: list[dict[str, Any]] = []
    seen: set[str] = set()
    token: str | None = None
    while True:
        asked = {**parameters, token_name: token} if token else parameters
        page, token = await channel.call(operation, asked, read)
        items += page
        if not token:
            return items
        if token in seen:
            raise ChainError(
                "TokenRepeated",
                "the service returned a next token that it had returned before",
                operation=operation_name(operation),
                account=channel.account,
                region=channel.region,
            )
        seen.add(token)
