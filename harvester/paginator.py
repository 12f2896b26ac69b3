"""A drop-in for the SDK's paginator of ListImageScanFindings that loses nothing.

Pages, cuts inside a page, resume tokens and full results are those of the SDK's own, and
tokens of either resume the other. Beyond it, throttles and faults are retried, and an answer
with a good status but without a list of findings is never taken for an empty page.
"""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import anyio
import jmespath  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError, PaginationError
from botocore.paginate import TokenDecoder, TokenEncoder
from botocore.parsers import ResponseParserError

from harvester.aws.faults import translate
from harvester.clock import Clock
from harvester.errors import ChainError, DamagedAnswerError, ServiceError
from harvester.paging.retry import RetryPolicy, call_patiently

Page = dict[str, Any]

_OPERATION = "ListImageScanFindings"
_CURSOR = "nextToken"
_OFFSET = "boto_truncate_amount"
_ODD_TOKEN = ("UnexpectedAnswer", "has a nextToken that is not a string")
_CALL_SECONDS = 300.0  # for one request, its body and the client's own retries included
_SDK_ERRORS = (ClientError, BotoCoreError, ResponseParserError, OSError)

# The region of the guarded call in progress. The handler on the client acts only where this
# is set, so that the client's other users keep the SDK's behaviour.
_guarded: ContextVar[str | None] = ContextVar("harvester_guarded_region", default=None)


class RepeatedTokenError(PaginationError, ChainError):  # type: ignore[misc]
    """A next token came for the second time: the SDK's PaginationError, with its text."""

    def __init__(self, message: str) -> None:
        ServiceError.__init__(self, "RepeatedToken", message, operation=_OPERATION)
        PaginationError.__init__(self, message=message)


class _OddTokenError(DamagedAnswerError):
    """An answer with good findings, and a next token that cannot be sent."""

    answer: Page


class FindingsPaginator:
    """Pages through the findings of one account and region, as the SDK's paginator does.

    The client's own retries come on top of `retry`; its Config turns them off with
    ``retries={"total_max_attempts": 1}``.

    Args:
        client: aiobotocore's ``imagebuilder`` client; used, never closed.
        retry: how throttles and faults are retried. Expired credentials are not: they are
            the client's to renew.
        clock: what to wait with.
    """

    def __init__(
        self, client: Any, *, retry: RetryPolicy | None = None, clock: Clock | None = None
    ) -> None:
        self.result_keys = [jmespath.compile("findings")]
        self._method = client.list_image_scan_findings
        self._region = str(client.meta.region_name)
        self._policy = replace(retry or RetryPolicy(), renewals=0)
        self._clock = clock or Clock()
        event = f"before-parse.imagebuilder.{_OPERATION}"
        client.meta.events.register(event, _refuse_damage, unique_id="harvester-refuse-damage")

    def paginate(self, **kwargs: Any) -> FindingsPages:
        """Prepare a chain of pages; nothing is asked for before it is iterated.

        Takes ``filters`` and ``PaginationConfig`` (a dict of ``MaxItems``, ``PageSize`` and
        ``StartingToken``), and passes anything else to the operation, as the SDK does.
        Raises ValueError where ``MaxItems`` or ``PageSize`` is no number.
        """
        config = kwargs.pop("PaginationConfig", {})
        max_items, page_size = config.get("MaxItems"), config.get("PageSize")
        return FindingsPages(
            fetch=self._call,
            region=self._region,
            arguments=kwargs,
            max_items=None if max_items is None else int(max_items),
            page_size=None if page_size is None else int(page_size),
            starting_token=config.get("StartingToken"),
            result_keys=self.result_keys,
        )

    async def _call(self, arguments: dict[str, Any]) -> Page:
        """Return one page, asked for again where that helps, or raise the client's error."""
        # A copy: iterators of one chain share the arguments and change them as they go.
        request = partial(self._request, dict(arguments))
        try:
            return await call_patiently(request, policy=self._policy, clock=self._clock)
        except _OddTokenError as error:
            return error.answer  # its findings are good; the iteration ends with the error
        except ServiceError as error:
            failure = error.__cause__ or error
        raise failure

    async def _request(self, arguments: dict[str, Any]) -> Page:
        mark = _guarded.set(self._region)
        try:
            with anyio.fail_after(_CALL_SECONDS):
                page: Page = await self._method(**arguments)
        except _SDK_ERRORS as error:
            raise translate(
                error, operation=_OPERATION, account=None, region=self._region
            ) from error
        finally:
            _guarded.reset(mark)
        if not isinstance(page.get(_CURSOR), str | None):
            odd = _OddTokenError(*_ODD_TOKEN, operation=_OPERATION, region=self._region)
            odd.answer = page
            raise odd
        return page


@dataclass(kw_only=True, eq=False)
class FindingsPages:
    """An async iterable of pages: the parsed answers, as the client returns them.

    Raises the client's own errors (``ClientError`` where the service refuses),
    DamagedAnswerError where answers stay damaged, RepeatedTokenError, and ValueError for a
    bad starting token. An iterator whose request failed or was cancelled asks for that page
    again. As with the SDK, a second iteration goes on from the last token that was asked
    for, unless there is a starting token to go back to.

    Attributes:
        resume_token: a ``StartingToken`` for the rest, once ``MaxItems`` has cut the chain.
        non_aggregate_part: the ``requestId`` of the first page; empty before it.
        result_keys: compiled JMESPath expressions of what pages hold: ``findings``.
    """

    fetch: Callable[[Page], Awaitable[Page]] = field(repr=False)
    region: str
    arguments: dict[str, Any]
    max_items: int | None
    page_size: int | None
    starting_token: str | None
    result_keys: list[Any]
    resume_token: str | None = None
    non_aggregate_part: dict[str, Any] = field(default_factory=dict)

    def __aiter__(self) -> _Walk:
        """Iterate from the starting token, or else from the last token asked for."""
        return _Walk(self)

    async def search(self, expression: str) -> AsyncGenerator[Any, None]:
        """What a JMESPath expression finds in each page, the items of a list one by one."""
        compiled = jmespath.compile(expression)
        async for page in self:
            found = compiled.search(page)
            for item in found if isinstance(found, list) else [found]:
                yield item

    def result_key_iters(self) -> list[AsyncGenerator[Any, None]]:
        """An iterator of items for each of ``result_keys``."""
        return [self.search(f"{key.expression} || `[]`") for key in self.result_keys]

    async def build_full_result(self) -> dict[str, Any]:
        """All pages as one: ``findings``, ``requestId`` and, if cut, ``NextToken``."""
        full: dict[str, Any] = {}
        async for page in self:
            if page.get("findings") is not None:
                full.setdefault("findings", []).extend(page["findings"])
        full.update(self.non_aggregate_part)
        if self.resume_token is not None:
            full["NextToken"] = self.resume_token
        return full


class _Walk(AsyncIterator[Page]):
    """One iteration. No generator: one left early would need the event loop to close it."""

    def __init__(self, pages: FindingsPages) -> None:
        self._pages = pages
        self._token: dict[str, Any] = {_CURSOR: None}
        self._asked: set[int] = set()
        self._offset: Any = 0
        self._seen = 0
        self._held: Page | None = None  # the page in the consumer's hands
        self._stage: Literal["new", "first", "later", "over"] = "new"

    async def __anext__(self) -> Page:
        if self._stage == "new":
            self._begin()
        if self._held is not None and self._stage != "over":
            self._advance(self._held)
        if self._stage == "over":
            raise StopAsyncIteration
        page = await self._pages.fetch(self._pages.arguments)
        self._cut(page)
        return page

    def _begin(self) -> None:
        if self._pages.starting_token is not None:
            self._token, self._offset = _parse_starting_token(self._pages.starting_token)
            self._inject()
        if self._pages.page_size is not None:
            self._pages.arguments["maxResults"] = self._pages.page_size
        self._stage = "first"

    def _cut(self, page: Page) -> None:
        """Cut a page as it arrives: its head when resuming, its tail at MaxItems."""
        pages = self._pages
        if self._stage == "first":
            if pages.starting_token is not None:
                findings = page.get("findings")
                page["findings"] = None if findings is None else findings[self._offset :]
            pages.non_aggregate_part = {"requestId": page.get("requestId")}
            self._stage = "later"
        else:
            self._offset = 0
        self._held = page
        findings = page.get("findings") or []
        self._seen += len(findings)
        if pages.max_items is not None and self._seen > pages.max_items:
            kept = len(findings) - (self._seen - pages.max_items)
            page["findings"] = findings[:kept]
            self._stage = "over"
            # The next run asks for this page again, so it skips what any run took from it.
            pages.resume_token = _encode({**self._token, _OFFSET: kept + self._offset})

    def _advance(self, held: Page) -> None:
        """Go to the next page: only when it is asked for, and by the page as it is then."""
        pages = self._pages
        token = held.get(_CURSOR)
        if not isinstance(token, str | None):
            raise _damaged(*_ODD_TOKEN, pages.region)
        self._token = {_CURSOR: token or None}
        if self._token[_CURSOR] is None:
            self._stage = "over"
        elif self._seen == pages.max_items:
            self._stage = "over"
            pages.resume_token = _encode(self._token)
        elif (seen := hash(self._token[_CURSOR])) in self._asked:
            # The SDK notices the same token twice in a row; round a longer circle (A, B, A, B)
            # it would go for ever.
            raise RepeatedTokenError(f"The same next token was received twice: {self._token}")
        else:
            self._inject()
            self._asked.add(seen)
            self._held = None

    def _inject(self) -> None:
        for name, value in self._token.items():
            if value is not None and value != "None":
                self._pages.arguments[name] = value
            else:
                self._pages.arguments.pop(name, None)

    async def aclose(self) -> None:
        """End the iteration, as a generator's aclose does (``contextlib.aclosing``)."""
        self._stage = "over"


def _parse_starting_token(text: str) -> tuple[dict[str, Any], Any]:
    """Return the request's token and how many of its page's findings were taken already."""
    try:
        token: dict[str, Any] = TokenDecoder().decode(text)
        return token, token.pop(_OFFSET, 0)
    except (ValueError, TypeError):
        pass  # a token of the service itself, or of old SDKs: TOKEN___OFFSET
    plain, *offset = text.split("___")
    if len(offset) > 1:
        raise ValueError(f"Bad starting token: {text}")
    try:
        skip = int(offset[0]) if offset else 0
    except ValueError:
        plain, skip = text, 0
    return {_CURSOR: None if plain == "None" else plain}, skip


def _encode(token: dict[str, Any]) -> str:
    if token.keys() - {_OFFSET} != {_CURSOR}:
        raise ValueError(f"Bad starting token: {token}")
    return str(TokenEncoder().encode(token))


def _refuse_damage(response_dict: dict[str, Any], **_kwargs: Any) -> None:
    """Stop the SDK's parser, in guarded calls, from making an empty page of garbage."""
    region, status = _guarded.get(), response_dict["status_code"]
    if region is None or status >= 300:  # noqa: PLR2004
        return
    response_dict["body"] = response_dict["body"].removeprefix(BOM_UTF8)
    reason = _damage_of(response_dict["body"])
    if reason is not None:
        raise _damaged("DamagedAnswer", reason, region)


def _damage_of(body: bytes) -> str | None:
    """Return why the SDK would make no page of a body, None where it does."""
    try:
        # Decoded as the SDK does: what it cannot read must not pass, nor more be refused.
        page = json.loads(body.decode())
    except (ValueError, RecursionError):
        return "cannot be read as JSON" if body else "is empty"
    if not isinstance(page, dict):
        return "is JSON, but not an object with a list of findings"
    findings = page.get("findings")
    if not isinstance(findings, list):
        return "is a JSON object without a list of findings"
    if not all(isinstance(finding, dict) for finding in findings):
        return "holds findings that are not objects"
    return None


def _damaged(code: str, reason: str, region: str) -> DamagedAnswerError:
    return DamagedAnswerError(
        code, f"the body {reason}", operation=_OPERATION, region=region, status=200
    )
