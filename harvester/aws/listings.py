"""Lists that AWS answers in pages: read to their end, each page checked."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from harvester.aws.bodies import decode_list
from harvester.aws.clients import operation_name
from harvester.errors import ChainError, DamagedAnswerError
from harvester.paging.channel import Channel

Listed = tuple[list[dict[str, Any]], str | None]


async def list_pipelines(channel: Channel, account: str) -> list[dict[str, Any]]:
    """Return the image pipelines of the channel's account and region, as the API names them."""
    read = partial(
        decode_list,
        key="imagePipelineList",
        operation="ListImagePipelines",
        account=account,
        region=channel.region,
    )
    return await _list_all(channel, "list_image_pipelines", {"maxResults": 25}, read, "nextToken")


async def list_parsed(
    channel: Channel, operation: str, key: str, parameters: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Return all items of a listing that the SDK parses, of Organizations or EC2."""

    def read(answer: dict[str, Any]) -> Listed:
        # The SDK parses garbage as an answer without the list; a real one always has it.
        if not isinstance(answer.get(key), list):
            raise DamagedAnswerError(
                "DamagedAnswer", f"the answer has no {key}", operation=operation_name(operation)
            )
        return answer[key], answer.get("NextToken")

    return await _list_all(channel, operation, parameters or {}, read, "NextToken")


async def _list_all(
    channel: Channel,
    operation: str,
    parameters: dict[str, Any],
    read: Callable[[Any], Listed],
    token_name: str,
) -> list[dict[str, Any]]:
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
                "the service gave a token for the second time",
                operation=operation_name(operation),
                account=channel.account,
                region=channel.region,
            )
        seen.add(token)
