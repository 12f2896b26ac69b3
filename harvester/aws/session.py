"""Sessions of the SDK that read its variables as this project documents them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError, ProfileNotFound

from harvester.errors import SettingsError
from harvester.settings.values import shown
from harvester.spelling import closest
from harvester.text import printable

_REGION_VARIABLES = ("AWS_REGION", "AWS_DEFAULT_REGION")
_MOST_NAMED = 10


class Session(AioSession):  # type: ignore[misc]  # the SDK is untyped
    """A session of the SDK for which an empty variable is unset, and AWS_REGION counts.

    Args:
        profile: a profile of the SDK's configuration, or None for the SDK's own choice.
        endpoint_url: the endpoint of all clients that are not given one.
    """

    def __init__(self, profile: str | None = None, endpoint_url: str | None = None) -> None:
        super().__init__(session_vars=_variables(), profile=profile)
        self._given_profile = profile
        self._given_endpoint = endpoint_url
        self._given_region: str | None = None

    def use_region_of(self, other: AioSession) -> None:
        """Take another session's region, if it has one, for the configured one."""
        self._given_region = other.get_config_variable("region")

    def create_client(self, *arguments: Any, **options: Any) -> Any:
        """Return the context of a client, at the session's endpoint if it has one."""
        if options.get("endpoint_url") is None:
            options["endpoint_url"] = self._given_endpoint
        return super().create_client(*arguments, **options)

    @property
    def chosen_profile(self) -> str:
        """The name of the profile in use."""
        name: str | None = self.get_config_variable("profile")
        return name or "default"

    @property
    def is_profile_given(self) -> bool:
        """Whether the profile is that of the settings, and not of a variable."""
        return self._given_profile is not None

    def region(self) -> tuple[str, str] | None:
        """Return the configured region and what sets it (`AWS_REGION`), or None.

        Raises:
            SettingsError: the profile does not exist, or its file cannot be read.
        """
        if self._given_region:
            return self._given_region, "region of the given session"
        for name in _REGION_VARIABLES:
            if value := os.environ.get(name):
                return value, name
        value = self.scoped().get("region")
        return (value, f"region of profile {printable(self.chosen_profile)}") if value else None

    def scoped(self) -> Mapping[str, Any]:
        """Return the keys of the profile in use.

        Raises:
            SettingsError: the profile does not exist, or its file cannot be read.
        """
        try:
            found: Mapping[str, Any] = self.get_scoped_config()
        except ProfileNotFound:
            raise self._no_profile() from None
        except BotoCoreError as error:
            raise SettingsError(f"aws.profile: {printable(str(error))}") from None
        return found

    def profiles(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the keys of each profile by its name."""
        found: Mapping[str, Mapping[str, Any]] = self.full_config.get("profiles", {})
        return found

    def profile_chain(self) -> Iterator[Mapping[str, Any]]:
        """Yield the keys of the profile in use, and of those that it takes credentials from."""
        name: str | None = self.chosen_profile
        seen: set[str] = set()
        while name and name not in seen:
            seen.add(name)
            keys = self.profiles().get(name, {})
            yield keys
            name = keys.get("source_profile")

    def missing_files(self) -> str:
        """Return a note on the configured files that do not exist, "" where all do."""
        names = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")
        missing = [
            f"{name}: {shown(path)} does not exist"
            for name in names
            if (path := os.environ.get(name)) and not Path(path).expanduser().exists()
        ]
        return f" ({'; '.join(missing)})" if missing else ""

    def _no_profile(self) -> SettingsError:
        name = self.chosen_profile
        known = sorted(self.profiles())
        if close := closest(name, known):
            advice = f"did you mean {printable(close)}?"
        elif known:
            more = ", …" if len(known) > _MOST_NAMED else ""
            advice = f"known: {printable(', '.join(known[:_MOST_NAMED]))}{more}"
        else:
            advice = "there are no profiles"
        return SettingsError(
            f"{self._profile_origin()}: there is no AWS profile {shown(name)}; "
            f"{advice}{self.missing_files()}"
        )

    def _profile_origin(self) -> str:
        if self._given_profile is not None:
            return "aws.profile (--profile)"
        return next(name for name in _names_of("profile") if os.environ.get(name))


def _names_of(variable: str) -> list[str]:
    names = AioSession.SESSION_VARIABLES[variable][1] or []
    return [names] if isinstance(names, str) else list(names)


def _variables() -> dict[str, tuple[Any, Any, Any, Any]]:
    """Return the SDK's session variables that have to be read in another way than its own."""
    changed = {}
    for variable, (key, _, default, convert) in AioSession.SESSION_VARIABLES.items():
        names = _names_of(variable)
        used = [name for name in names if os.environ.get(name) != ""]
        if variable == "region":
            used = [name for name in _REGION_VARIABLES if os.environ.get(name)]
        elif variable == "ca_bundle" or used == names:  # an empty bundle is refused elsewhere
            continue
        changed[variable] = (key, used, default, convert)
    return changed
