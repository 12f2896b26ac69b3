"""Who calls, which accounts there are, and how each of them is entered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from harvester.aws.credentials import Credentials, OwnCredentials, RoleCredentials, Session
from harvester.aws.listings import list_parsed
from harvester.errors import (
    DamagedAnswerError,
    RefusedError,
    ServiceError,
    SettingsError,
    StartError,
)
from harvester.model import Account, Caller, Chosen
from harvester.names import is_account, is_partition
from harvester.paging.channel import Exchange
from harvester.settings import AccountSettings
from harvester.text import Secret, printable

_NAME_LENGTH = 50  # of an account's name: the maximum of the service model
_ROLES_AT_FIRST = 16
_ROLE_SECONDS = 3600
"""The longest that a role assumed by another role's session may last."""


class Accounts:
    """The accounts of a sweep, chosen as the settings say.

    Args:
        settings: the choice, and the role to assume.
        exchange: what carries the calls.
        own: the caller's credentials.
        home: the region whose STS and Organizations are asked.
    """

    def __init__(
        self, settings: AccountSettings, exchange: Exchange, own: OwnCredentials, home: str
    ) -> None:
        self._settings = settings
        self._exchange = exchange
        self._own = own
        self._empty_units: list[str] = []
        self._open(home)

    def _open(self, home: str) -> None:
        # A role that hangs must not hold up the others: STS grants hundreds of calls a second.
        self._sts = self._exchange.channel("sts", home, self._own, first=_ROLES_AT_FIRST)
        self._organizations = self._exchange.channel("organizations", home, self._own)

    def move_to(self, home: str) -> None:
        """Ask the STS and Organizations of another region from now on."""
        self._open(home)

    async def caller(self) -> Caller:
        """Return who calls.

        Raises:
            StartError: there are no credentials, or STS does not take them.
        """
        try:
            answer = await self._sts.call("get_caller_identity", {}, _identity)
        except ServiceError as error:
            raise StartError(
                str(error), hint="check the credentials, the endpoint and the network"
            ) from error
        return Caller(answer["Account"], answer["Arn"], answer["Arn"].split(":")[1])

    async def choose(self, caller: Caller) -> Chosen:
        """Return the accounts to sweep.

        Raises:
            StartError: the organization cannot be read.
            SettingsError: an account is not the caller's own and there is no role to assume.
        """
        settings = self._settings
        chosen = {account: Account(account) for account in settings.include}
        try:
            async for account in self._from_organization():
                chosen[account.id] = account
        except ServiceError as error:
            raise StartError(
                f"the organization cannot be read: {error}",
                hint="run from the management or a delegated administrator account, with "
                "organizations:ListAccounts, ListAccountsForParent and "
                "ListOrganizationalUnitsForParent",
            ) from error
        if not (settings.include or settings.organization or settings.organizational_units):
            chosen = {caller.account: Account(caller.account)}
        accounts = [chosen[key] for key in sorted(chosen) if key not in settings.exclude]
        self._check_role(accounts, caller)
        excluded = [key for key in settings.exclude if key in chosen]
        return Chosen(accounts, excluded, tuple(self._empty_units))

    def credentials(self, account: Account, caller: Caller) -> Credentials:
        """Return the credentials for an account: the caller's own, or a role in it."""
        if account.id == caller.account:
            return self._own
        arn = f"arn:{caller.partition}:iam::{account.id}:role/{self._settings.role_name}"
        return RoleCredentials(lambda: self._assume(arn, account.id))

    async def _assume(self, arn: str, account: str) -> Session:
        parameters: dict[str, Any] = {
            "RoleArn": arn,
            "RoleSessionName": self._settings.session_name,
            "DurationSeconds": _ROLE_SECONDS,
        }
        if self._settings.external_id is not None:
            parameters["ExternalId"] = Secret(self._settings.external_id)
        try:
            session = await self._sts.call("assume_role", parameters, _session, about=account)
        except ServiceError as error:
            # STS was asked patiently already: for the call that needs these keys it is final.
            raise RefusedError(
                error.code,
                error.message,
                operation="AssumeRole",
                account=account,
                status=error.status,
            ) from error
        return replace(session, source=arn)

    async def _from_organization(self) -> AsyncIterator[Account]:
        if self._settings.organization:
            for item in await list_parsed(self._organizations, "list_accounts", "Accounts"):
                yield _account(item)
        seen: set[str] = set()
        for unit in self._settings.organizational_units:
            empty = True
            async for account in self._below(unit, seen):
                empty = False
                yield account
            if empty:
                self._empty_units.append(unit)

    async def _below(self, unit: str, seen: set[str]) -> AsyncIterator[Account]:
        """Yield the accounts below a unit, at any depth, but for units that were seen."""
        waiting = [unit]
        while waiting:
            parent = waiting.pop()
            if parent in seen:
                continue
            seen.add(parent)
            for item in await self._children("list_accounts_for_parent", "Accounts", parent):
                yield _account(item)
            units = await self._children(
                "list_organizational_units_for_parent", "OrganizationalUnits", parent
            )
            waiting += [_id(unit, "ListOrganizationalUnitsForParent") for unit in units]

    async def _children(self, operation: str, key: str, parent: str) -> list[dict[str, Any]]:
        return await list_parsed(self._organizations, operation, key, {"ParentId": parent})

    def _check_role(self, accounts: Sequence[Account], caller: Caller) -> None:
        other = next((one.id for one in accounts if one.id != caller.account), None)
        if other and not self._settings.role_name:
            raise SettingsError(
                f"accounts.role_name: not set, but account {other} is not the caller's own "
                f"({caller.account}): give the role to assume there, --role-name NAME"
            )


def _identity(answer: dict[str, Any]) -> dict[str, Any]:
    parts = str(answer.get("Arn")).split(":")
    # Both become parts of other names: of roles' ARNs, and the account of paths.
    if not (len(parts) > 5 and is_partition(parts[1]) and is_account(str(answer.get("Account")))):  # noqa: PLR2004
        raise DamagedAnswerError(
            "DamagedAnswer", "the answer names no caller", operation="GetCallerIdentity"
        )
    return answer


def _session(answer: dict[str, Any]) -> Session:
    found = answer.get("Credentials") or {}
    try:
        return Session.granted(
            found["AccessKeyId"],
            found["SecretAccessKey"],
            found["SessionToken"],
            found["Expiration"],
        )
    except KeyError:
        raise DamagedAnswerError(
            "DamagedAnswer", "the answer has no credentials", operation="AssumeRole"
        ) from None


def _account(item: dict[str, Any]) -> Account:
    # `Status` is being replaced by `State`; an account with neither is not left out.
    state = item.get("State") or item.get("Status") or "ACTIVE"
    name = item.get("Name")
    return Account(
        _id(item, "ListAccounts"),
        printable(name, _NAME_LENGTH) if isinstance(name, str) else None,
        state=printable(str(state), _NAME_LENGTH),
    )


def _id(item: dict[str, Any], operation: str) -> str:
    if not isinstance(item.get("Id"), str):
        raise DamagedAnswerError("DamagedAnswer", "an item has no id", operation=operation)
    found: str = item["Id"]
    return found
