"""AWS Organizations: accounts and the tree of units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from harvester.simulator.errors import AwsError
from harvester.simulator.tokens import Position, TokenError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harvester.simulator.behaviour import Behaviour
    from harvester.simulator.calls import Call
    from harvester.simulator.faults import Faults
    from harvester.simulator.organization import Account, Organization, Unit
    from harvester.simulator.tokens import PageTokens

_LARGEST_PAGE: Final = 20
# 2024-02-29T12:00:00.5Z, in seconds since the epoch: when everybody joined.
_JOINED: Final = 1_709_208_000.5

_Row = TypeVar("_Row")


class Organizations:
    """ListAccounts, ListRoots, ListAccountsForParent, …: for the management account to read."""

    def __init__(
        self,
        organization: Organization,
        behaviour: Behaviour,
        faults: Callable[[], Faults],
        tokens: PageTokens,
    ) -> None:
        self._organization = organization
        self._behaviour = behaviour
        self._faults = faults
        self._tokens = tokens
        self._arn = f"arn:{organization.partition}:organizations::{organization.management}"
        self._parents = {organization.root, *(unit.id for unit in organization.units)}
        self._unit_parents = {unit.id: unit.parent for unit in organization.units}
        self.operations = {
            "DescribeOrganization": self.describe_organization,
            "ListAccounts": self.list_accounts,
            "ListRoots": self.list_roots,
            "ListAccountsForParent": self.list_accounts_for_parent,
            "ListOrganizationalUnitsForParent": self.list_units_for_parent,
        }

    def describe_organization(self, call: Call) -> dict[str, Any]:
        """Who manages the organization; every member account may ask."""
        organization = self._organization
        if self._faults().organizations_denied:
            raise _denied(call)
        if organization.account(call.account) is None:
            raise AwsError(
                "AWSOrganizationsNotInUseException",
                400,
                "Your account is not a member of an organization.",
            )
        management = organization.account(organization.management)
        details = {
            "Id": organization.id,
            "Arn": f"{self._arn}:organization/{organization.id}",
            "FeatureSet": "ALL",
            "MasterAccountArn": self._account_arn(organization.management),
            "MasterAccountId": organization.management,
            "AvailablePolicyTypes": [{"Type": "SERVICE_CONTROL_POLICY", "Status": "ENABLED"}],
        }
        if management is not None:
            details["MasterAccountEmail"] = management.email
        return {"Organization": details}

    def list_accounts(self, call: Call) -> dict[str, Any]:
        """All accounts."""
        return self._page(call, "Accounts", self._organization.accounts, self._account)

    def list_roots(self, call: Call) -> dict[str, Any]:
        """The one root."""
        return self._page(call, "Roots", (self._organization.root,), self._root)

    def list_accounts_for_parent(self, call: Call) -> dict[str, Any]:
        """The accounts right below a root or unit."""
        parent = self._parent(call)
        accounts = [one for one in self._organization.accounts if one.parent == parent]
        return self._page(call, "Accounts", accounts, self._account)

    def list_units_for_parent(self, call: Call) -> dict[str, Any]:
        """The units right below a root or unit."""
        parent = self._parent(call)
        units = [unit for unit in self._organization.units if unit.parent == parent]
        return self._page(call, "OrganizationalUnits", units, self._unit)

    def _authorize(self, call: Call) -> None:
        readers = {self._organization.management, *self._organization.delegated}
        if self._faults().organizations_denied or call.account not in readers:
            raise _denied(call)

    def _parent(self, call: Call) -> str:
        self._authorize(call)
        parent = call.parameters.get("ParentId")
        if not isinstance(parent, str) or not parent:
            raise _invalid_input("You must provide a value for ParentId.")
        if parent not in self._parents:
            raise AwsError(
                "ParentNotFoundException", 400, "You specified parent that doesn't exist."
            )
        return parent

    def _page(
        self, call: Call, name: str, rows: Sequence[_Row], render: Callable[[_Row], dict[str, Any]]
    ) -> dict[str, Any]:
        self._authorize(call)
        size = call.parameters.get("MaxResults", _LARGEST_PAGE)
        if type(size) is not int or not 1 <= size <= _LARGEST_PAGE:
            raise _invalid_input(f"MaxResults must be between 1 and {_LARGEST_PAGE}.")
        query = f"{call.operation}/{call.account}/{call.parameters.get('ParentId', '')}"
        token, start = call.parameters.get("NextToken"), 0
        if token is not None:
            try:
                start = self._tokens.open(query, str(token)).offset
            except TokenError:
                raise _invalid_input("You provided an invalid NextToken.") from None
        page: dict[str, Any] = {name: [render(row) for row in rows[start : start + size]]}
        if start + size < len(rows):
            return page | {"NextToken": self._tokens.seal(query, Position(start + size))}
        return page | self._behaviour.ending("NextToken")

    def _account_arn(self, account_id: str) -> str:
        return f"{self._arn}:account/{self._organization.id}/{account_id}"

    def _path(self, parent: str) -> str:
        """Where a parent is, from the organization's id downwards, with a slash at the end."""
        path = ""
        while parent in self._unit_parents:
            path = f"{parent}/{path}"
            parent = self._unit_parents[parent]
        return f"{self._organization.id}/{parent}/{path}"

    def _account(self, account: Account) -> dict[str, Any]:
        return {
            "Id": account.id,
            "Arn": self._account_arn(account.id),
            "Email": account.email,
            "Name": account.name,
            "Status": account.status,
            "State": account.status,
            "Paths": [f"{self._path(account.parent)}{account.id}/"],
            "JoinedMethod": "CREATED",
            "JoinedTimestamp": _JOINED,
        }

    def _root(self, root: str) -> dict[str, Any]:
        arn = f"{self._arn}:root/{self._organization.id}/{root}"
        policies = [{"Type": "SERVICE_CONTROL_POLICY", "Status": "ENABLED"}]
        return {"Id": root, "Arn": arn, "Name": "Root", "PolicyTypes": policies}

    def _unit(self, unit: Unit) -> dict[str, Any]:
        arn = f"{self._arn}:ou/{self._organization.id}/{unit.id}"
        return {"Id": unit.id, "Arn": arn, "Name": unit.name, "Path": self._path(unit.id)}


def _denied(call: Call) -> AwsError:
    return AwsError(
        "AccessDeniedException",
        400,
        f"User: {call.identity.arn} is not authorized to perform: "
        f"organizations:{call.operation} on resource: *",
    )


def _invalid_input(message: str) -> AwsError:
    return AwsError("InvalidInputException", 400, message)
