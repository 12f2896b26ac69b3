"""The Security Token Service: who am I, and let me be somebody else."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from harvester.simulator.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from harvester.simulator.behaviour import Behaviour
    from harvester.simulator.calls import Call
    from harvester.simulator.faults import Faults
    from harvester.simulator.keyring import Keyring
    from harvester.simulator.organization import Organization

_ROLE_ARN: Final = re.compile(r"arn:([a-z-]+):iam::(\d{12}):role/((?:[!-~]+/)*)([\w+=,.@-]{1,64})")
_SESSION_NAME: Final = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_EXTERNAL_ID: Final = re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII)
_SHORTEST: Final = 900
_LONGEST: Final = 43_200
_LONGEST_CHAINED: Final = 3_600


class Sts:
    """GetCallerIdentity and AssumeRole."""

    def __init__(
        self,
        organization: Organization,
        behaviour: Behaviour,
        faults: Callable[[], Faults],
        keyring: Keyring,
        clock: Callable[[], float],
    ) -> None:
        self._organization = organization
        self._behaviour = behaviour
        self._faults = faults
        self._keyring = keyring
        self._clock = clock
        self.operations = {
            "GetCallerIdentity": self.get_caller_identity,
            "AssumeRole": self.assume_role,
        }

    def get_caller_identity(self, call: Call) -> dict[str, Any]:
        """Whose the credentials are."""
        identity = call.identity
        user = _unique_id("AIDA", identity.arn)
        if identity.assumed:
            _, role, session = identity.arn.rsplit("/", 2)
            user = f"{_unique_id('AROA', identity.account + role)}:{session}"
        return {"Arn": identity.arn, "UserId": user, "Account": identity.account}

    def assume_role(self, call: Call) -> dict[str, Any]:
        """Credentials of a role in an account of the organization."""
        arn, session = call.parameters.get("RoleArn", ""), call.parameters.get("RoleSessionName")
        duration = self._duration(call)
        match = _ROLE_ARN.fullmatch(arn)
        if match is None:
            raise _invalid(f"{arn} is invalid")
        if session is None or not _SESSION_NAME.fullmatch(session):
            raise _invalid("The specified value for roleSessionName is invalid.")
        external_id = call.parameters.get("ExternalId")
        if external_id is not None and not _EXTERNAL_ID.fullmatch(external_id):
            raise _invalid("The specified value for externalId is invalid.")
        partition, account, path, name = match.groups()
        if not self._trusts(call, partition, account, path + name):
            raise AwsError(
                "AccessDenied",
                403,
                f"User: {call.identity.arn} is not authorized to perform: sts:AssumeRole on "
                f"resource: {arn}",
            )
        expires = self._clock() + duration
        identity = self._keyring.session(account, name, session, expires)
        moment = datetime.fromtimestamp(expires, UTC)
        return {
            "AssumedRoleUser": {
                "AssumedRoleId": f"{_unique_id('AROA', account + name)}:{session}",
                "Arn": identity.arn,
            },
            "Credentials": {
                "AccessKeyId": identity.access_key_id,
                "SecretAccessKey": identity.secret_key,
                "SessionToken": identity.session_token,
                "Expiration": moment.isoformat(timespec="seconds").replace("+00:00", "Z"),
            },
        }

    def _trusts(self, call: Call, partition: str, account_id: str, role: str) -> bool:
        """Whether the role exists and lets this caller in."""
        account = self._organization.account(account_id)
        roles, wanted = self._behaviour.role_names, self._behaviour.external_id
        return (
            partition == self._organization.partition
            and self._organization.account(call.account) is not None
            and account is not None
            and account.status == "ACTIVE"
            and account_id not in self._faults().denied_accounts
            and (roles is None or role in roles)
            and (wanted is None or call.parameters.get("ExternalId") == wanted)
        )

    def _duration(self, call: Call) -> float:
        text = call.parameters.get("DurationSeconds", str(_LONGEST_CHAINED))
        if not text.isdecimal() or not _SHORTEST <= int(text) <= _LONGEST:
            raise _invalid(
                f"Value '{text}' at 'durationSeconds' failed to satisfy constraint: Member must "
                f"have a value between {_SHORTEST} and {_LONGEST}"
            )
        if call.identity.assumed and int(text) > _LONGEST_CHAINED:
            raise _invalid(
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed "
                "by role chaining"
            )
        if self._behaviour.session_duration is not None:
            return self._behaviour.session_duration
        return int(text)


def _unique_id(prefix: str, text: str) -> str:
    return prefix + hashlib.sha256(text.encode()).hexdigest()[:17].upper()


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationError", 400, message)
