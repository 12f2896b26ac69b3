"""From a request to a reply, without any I/O: the front door, the faults, the operation."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from harvester.simulator.calls import Call
from harvester.simulator.darkness import account_concerned, find_dark
from harvester.simulator.errors import AwsError, front_door, invalid_request
from harvester.simulator.faults import Delivery, covers, draw, refusal
from harvester.simulator.frontdoor import FrontDoor, guess_service
from harvester.simulator.ledger import RequestRecord
from harvester.simulator.protocols import Answer, RestJson
from harvester.simulator.signatures import parse_authorization
from harvester.simulator.throttle import Throttle

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet

    from harvester.simulator.behaviour import Behaviour, Identity, Place
    from harvester.simulator.darkness import Dark
    from harvester.simulator.faults import Faults
    from harvester.simulator.keyring import Keyring
    from harvester.simulator.ledger import Ledger
    from harvester.simulator.organization import Organization
    from harvester.simulator.services import Service
    from harvester.simulator.signatures import Received, Scope

_THROTTLED: Final = (
    "You have exceeded the permitted request rate for the Amazon EC2 APIs that Image Builder calls "
    "on your behalf."
)
_HTML: Final = b"<html><head><title>502 Bad Gateway</title></head><body></body></html>"
_DELIVERIES: Final = {
    "reset": Delivery.RESET,
    "truncated": Delivery.TRUNCATED,
    "slow": Delivery.SLOW,
}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, and how it is to be delivered: after `delay` seconds, and the latency."""

    answer: Answer
    delivery: Delivery = Delivery.WHOLE
    delay: float = 0.0


@dataclass(slots=True)
class _Exchange:
    """What is known of a request so far; its end is a line in the ledger."""

    scope: Scope | None
    service: str
    region: str
    request_id: str
    operation: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    identity: Identity | None = None
    fault: str | None = None


class Gateway:
    """All services behind one front door. `faults` may be exchanged at any time."""

    def __init__(
        self,
        organization: Organization,
        services: Mapping[str, Service],
        behaviour: Behaviour,
        faults: Faults,
        *,
        keyring: Keyring,
        ledger: Ledger,
        rng: random.Random,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self.faults = faults
        self._organization = organization
        self._services = services
        self._behaviour = behaviour
        self._ledger = ledger
        self._rng = rng
        self._clock = clock
        self._door = FrontDoor(keyring, clock)
        self._throttle = Throttle(behaviour, monotonic)
        self._damaged = 0
        self._answered_oddly: set[Place] = set()

    def reply(self, received: Received) -> Reply:
        """What to answer to a request; the request is noted in the ledger."""
        scope = parse_authorization(received.header("Authorization"))
        name = scope.service if scope else guess_service(received)
        exchange = _Exchange(scope, name, scope.region if scope else "", str(uuid.uuid4()))
        service = self._services.get(name)
        if service is None:
            error = AwsError("UnknownOperationException", 404, f"There is no service '{name}'.")
            reply = Reply(RestJson().error(error, exchange.request_id))
        elif name == "imagebuilder" and exchange.region in self.faults.dead_regions:
            reply = Reply(Answer(0, b"", code="Closed"), Delivery.CLOSED)
        else:
            try:
                exchange.operation, exchange.parameters = service.protocol.read(received)
                self._admit(received, exchange)
                reply = self._darken(exchange) or self._strike(service, exchange)
                reply = replace(reply, delay=self._delay(exchange))
            except AwsError as error:
                reply = Reply(service.protocol.error(error, exchange.request_id))
        self._note(exchange, reply)
        return reply

    def _admit(self, received: Received, exchange: _Exchange) -> None:
        """Find out whose request it is, or refuse it."""
        name, region = exchange.service, exchange.region
        if name == "imagebuilder" and region in self.faults.disabled_regions:
            raise front_door("unknown_key", name)
        skew = self.faults.clock_skew
        exchange.identity = self._door.admit(received, exchange.scope, name, clock_skew=skew)
        if not self._reaches(exchange):
            raise front_door("unknown_key", name)

    def _reaches(self, exchange: _Exchange) -> bool:
        """Whether the region exists and, for Image Builder, is enabled in the caller's account.

        An unknown region has no address in the real AWS. Here all regions share one, so that its
        answer is that of a region that is not enabled: no access key is known.
        """
        if exchange.service != "imagebuilder":
            return exchange.region in self._organization.known_regions
        account = exchange.identity.account if exchange.identity else ""
        return exchange.region in self._organization.enabled_regions(account)

    def _dark(self, exchange: _Exchange) -> Dark | None:
        caller = exchange.identity.account if exchange.identity else ""
        account = account_concerned(exchange.operation, exchange.parameters, caller)
        return find_dark(self.faults.dark, exchange.service, account, exchange.region)

    def _darken(self, exchange: _Exchange) -> Reply | None:
        """The failure of a dark place, None where the call may go on."""
        dark = self._dark(exchange)
        if dark is None or dark.kind == "slow":
            return None
        exchange.fault = f"dark {dark.kind}"
        if dark.kind == "error":
            raise AwsError("ServiceException", 500, "Internal service error.")
        if dark.kind == "throttle":
            throttled = self._behaviour
            raise AwsError(throttled.throttle_code, throttled.throttle_status, _THROTTLED)
        if dark.kind == "hang":
            return Reply(Answer(0, b"", code="Hung"), Delivery.HUNG)
        return Reply(Answer(0, b"", code="Closed"), Delivery.CLOSED)

    def _delay(self, exchange: _Exchange) -> float:
        dark = self._dark(exchange)
        slow = dark is not None and dark.kind == "slow"
        return self.faults.dark_seconds if slow else 0.0

    def _answer_oddly(self, exchange: _Exchange) -> None:
        """Refuse the first call for findings in each of the places that answer oddly."""
        if exchange.operation != "ListImageScanFindings":
            return
        for place in self.faults.odd_first_answers - self._answered_oddly:
            if _covered({place}, exchange):
                self._answered_oddly.add(place)
                raise invalid_request("The request is not valid.")

    def _strike(self, service: Service, exchange: _Exchange) -> Reply:
        """Perform the operation, and let a fault strike it where one is drawn."""
        self._answer_oddly(exchange)
        self._slow_down(exchange)
        exchange.fault = draw(
            self.faults,
            self._rng,
            service=exchange.service,
            operation=exchange.operation,
            has_token="nextToken" in exchange.parameters,
        )
        if exchange.fault == "bare_429":
            return Reply(Answer(429, b"", code="429"))
        refused = refusal(exchange.fault, exchange.service)
        if refused is not None:
            raise refused
        answer = self._perform(service, exchange)
        if exchange.operation in self.faults.hung_operations:
            return Reply(Answer(0, b"", code="Hung"), Delivery.HUNG)
        if exchange.operation == "ListImageScanFindings" and _covered(
            self.faults.unending_targets, exchange
        ):
            return Reply(answer, Delivery.UNENDING)
        if exchange.fault == "damaged":
            answer = replace(answer, status=200, body=self._damage(answer.body))
        return Reply(answer, _DELIVERIES.get(exchange.fault or "", Delivery.WHOLE))

    def _slow_down(self, exchange: _Exchange) -> None:
        """Refuse what comes faster than the account and region's rate."""
        account = exchange.identity.account if exchange.identity else ""
        if exchange.service != "imagebuilder" or self._throttle.grant(account, exchange.region):
            return
        raise AwsError(self._behaviour.throttle_code, self._behaviour.throttle_status, _THROTTLED)

    def _perform(self, service: Service, exchange: _Exchange) -> Answer:
        """The answer of the operation itself."""
        if exchange.identity is None:
            raise front_door("unsigned", exchange.service)
        call = Call(
            exchange.service,
            exchange.operation,
            exchange.region,
            exchange.identity,
            exchange.parameters,
            exchange.request_id,
            exchange.fault,
        )
        operation = service.operations.get(call.operation)
        if operation is None:
            raise service.unknown(call.operation)
        _authorize(call, self.faults)
        return service.protocol.success(call.operation, operation(call), call.request_id)

    def _damage(self, body: bytes) -> bytes:
        """The next of the ways in which a body can be wrong though its status is 200."""
        forms = (body[: len(body) // 2], _HTML, b"", b"null", b"[]", b"{}")
        self._damaged += 1
        return forms[(self._damaged - 1) % len(forms)]

    def _note(self, exchange: _Exchange, reply: Reply) -> None:
        lost = reply.delivery in (Delivery.RESET, Delivery.CLOSED, Delivery.HUNG)
        self._ledger.add(
            RequestRecord(
                service=exchange.service,
                operation=exchange.operation,
                account=exchange.identity.account if exchange.identity else "",
                region=exchange.region,
                status=0 if lost else reply.answer.status,
                code=reply.answer.code,
                fault=exchange.fault,
                parameters=exchange.parameters,
                time=self._clock(),
            )
        )


def _covered(places: AbstractSet[Place], exchange: _Exchange) -> bool:
    account = exchange.identity.account if exchange.identity else ""
    return covers(places, account, exchange.region)


def _authorize(call: Call, faults: Faults) -> None:
    """Deny what the faults say that the caller has no permission for."""
    action = f"{call.service}:{call.operation}"
    text = f"User: {call.identity.arn} is not authorized to perform: {action} on resource: *"
    missing = f"{text} because no identity-based policy allows the {action} action"
    denied = "UnauthorizedOperation" if call.service == "ec2" else "AccessDeniedException"
    if call.operation in faults.denied_operations:
        raise AwsError(denied, 400 if call.service == "organizations" else 403, missing)
    if call.service != "imagebuilder":
        return
    here = (call.account, call.region)
    if covers(faults.denied_targets, *here):
        raise AwsError("AccessDeniedException", 403, missing)
    if covers(faults.policy_denied_targets, *here):
        because = f"{text} with an explicit deny in a service control policy"
        raise AwsError("AccessDeniedException", 403, because)
    if covers(faults.forbidden_targets, *here):
        forbidden = "You are not authorized to perform the requested operation."
        raise AwsError("ForbiddenException", 403, forbidden)
