"""Image Builder's two operations on findings: the list, and the counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from harvester.simulator.errors import invalid_request, invalid_token
from harvester.simulator.faults import covers
from harvester.simulator.store import Query
from harvester.simulator.target import FILTER_NAMES
from harvester.simulator.tokens import Position, TokenError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from harvester.simulator.behaviour import Behaviour
    from harvester.simulator.calls import Call
    from harvester.simulator.faults import Faults
    from harvester.simulator.store import Store
    from harvester.simulator.tokens import PageTokens

_MOST_VALUES: Final = 10
#: Filter of the aggregations → the member that carries one, and the value's name in it.
_AGGREGATIONS: Final = {
    "imageBuildVersionArn": ("imageAggregation", "imageBuildVersionArn"),
    "imagePipelineArn": ("imagePipelineAggregation", "imagePipelineArn"),
    "vulnerabilityId": ("vulnerabilityIdAggregation", "vulnerabilityId"),
}
_GARBAGE: Final = b"<!DOCTYPE html><html><body><h1>Sign in to continue</h1></body></html>"


class FindingOperations:
    """ListImageScanFindings and ListImageScanFindingAggregations."""

    def __init__(
        self,
        store: Store,
        behaviour: Behaviour,
        faults: Callable[[], Faults],
        tokens: PageTokens,
    ) -> None:
        self._store = store
        self._behaviour = behaviour
        self._faults = faults
        self._tokens = tokens
        self.operations = {
            "ListImageScanFindings": self.list_findings,
            "ListImageScanFindingAggregations": self.list_aggregations,
        }

    def list_findings(self, call: Call) -> bytes:
        """A page of the findings of the caller's account in the region."""
        query = Query(call.account, call.region, *_single_filter(call.parameters))
        size = page_size(call.parameters, self._behaviour.default_page, self._behaviour.page_limit)
        position = open_token(self._tokens, f"findings of {query}", call.parameters)
        here = (call.account, call.region)
        faults = self._faults()
        if covers(faults.garbage_targets, *here):
            return _GARBAGE
        if call.fault == "empty_page" or covers(faults.endless_targets, *here):
            after = Position(position.offset, position.nonce + 1)
            return _page(call, b"[]", self._token(query, after))
        again = covers(faults.repeating_targets, *here) and position.offset > 0
        findings = self._store.page(query, position.offset - again, size + again)
        if call.fault == "repeated_token":
            return _page(call, findings, call.parameters["nextToken"])
        if covers(faults.cycling_targets, *here):
            # The second page leads to the third, and the third back to the second.
            beyond = size if position.offset != size else 2 * size
            return _page(call, findings, self._token(query, Position(beyond)))
        rows = len(self._store.rows(query))
        beyond = position.offset + size
        trailing = self._behaviour.trailing_page and rows and beyond == rows
        if beyond < rows or trailing:
            return _page(call, findings, self._token(query, Position(beyond)))
        return _page(call, findings, *self._behaviour.ending("nextToken").values())

    def _token(self, query: Query, position: Position) -> str:
        return self._tokens.seal(f"findings of {query}", position)

    def list_aggregations(self, call: Call) -> dict[str, Any]:
        """Counts by severity: of the account, or of each value of a filter."""
        index = self._store.index(call.account, call.region)
        given = call.parameters.get("filter")
        faults = self._faults()
        offset = faults.count_offset(call.account, call.region)
        if given is None:
            total = _severity_counts(index.severities(lag=faults.count_lag), offset)
            return {
                "requestId": call.request_id,
                "aggregationType": "accountAggregation",
                "responses": [
                    {"accountAggregation": {"accountId": call.account, "severityCounts": total}}
                ],
            }
        name, values = _filter(given, tuple(_AGGREGATIONS), _MOST_VALUES)
        member, label = _AGGREGATIONS[name]
        responses = [
            {member: {label: value, "severityCounts": _severity_counts(counts, offset)}}
            for value in dict.fromkeys(values)
            if (counts := index.severities(name, value, lag=faults.count_lag))
        ]
        return {"requestId": call.request_id, "aggregationType": member, "responses": responses}


def page_size(parameters: dict[str, Any], default: int, limit: int) -> int:
    """The page that was asked for, or the default; refuses what is above the limit."""
    size = parameters.get("maxResults")
    if size is None:
        return min(default, limit)
    if type(size) is not int or not 1 <= size <= limit:
        raise invalid_request(
            f"The value supplied for parameter 'maxResults' is not valid. "
            f"It must be an integer between 1 and {limit}."
        )
    return size


def open_token(tokens: PageTokens, query: str, parameters: dict[str, Any]) -> Position:
    """Where the request's token leads; the start where it has none."""
    token = parameters.get("nextToken")
    if token is None:
        return Position()
    try:
        return tokens.open(query, token if isinstance(token, str) else "")
    except TokenError:
        raise invalid_token() from None


def _page(call: Call, findings: bytes, *token: str | None) -> bytes:
    """The body of an answer around findings that are encoded already, with a token or without."""
    following = b"".join(b',"nextToken":' + orjson.dumps(one) for one in token)
    head = b'{"requestId":' + orjson.dumps(call.request_id) + b',"findings":'
    return head + findings + following + b"}"


def _single_filter(parameters: dict[str, Any]) -> tuple[str | None, str]:
    """The one filter with the one value that is allowed; no name where there is none."""
    filters = parameters.get("filters")
    if filters is None:
        return None, ""
    if not isinstance(filters, list) or len(filters) != 1:
        raise invalid_request(
            "The value supplied for parameter 'filters' is not valid. You can specify 1 filter."
        )
    name, values = _filter(filters[0], FILTER_NAMES, 1)
    return name, values[0]


def _filter(given: Any, names: tuple[str, ...], most: int) -> tuple[str, list[str]]:
    """A filter's name and values, when the name is known and the values are few enough."""
    if not isinstance(given, dict) or given.get("name") not in names:
        raise invalid_request(
            f"The value supplied for parameter 'name' is not valid. "
            f"Valid filter names are: {', '.join(names)}."
        )
    values = given.get("values")
    strings = isinstance(values, list) and all(isinstance(value, str) for value in values)
    if not isinstance(values, list) or not strings or not 1 <= len(values) <= most:
        raise invalid_request(
            f"The value supplied for parameter 'values' is not valid. "
            f"You can specify between 1 and {most} values."
        )
    return str(given["name"]), values


def _severity_counts(counts: Counter[str | None], offset: int) -> dict[str, int]:
    """The counts, with `offset` more of them, or fewer; their sum stays within `all`."""
    found = {name: counts[name.upper()] for name in ("medium", "high", "critical")}
    found["medium"] += max(0, offset)
    too_many = max(0, -offset)
    for name, number in found.items():
        taken = min(number, too_many)
        found[name] -= taken
        too_many -= taken
    return {"all": max(0, counts.total() + offset), **dict(reversed(found.items()))}
