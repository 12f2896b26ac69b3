"""Where credentials come from, in words: for errors, and for what to do about them."""

from __future__ import annotations

import os
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as SdkConnectionError

from harvester.aws.faults import translate
from harvester.aws.session import Session
from harvester.errors import HarvesterError, ServiceError
from harvester.text import printable, redact

_TOKEN_FILE = "AWS_WEB_IDENTITY_TOKEN_FILE"  # noqa: S105  # a variable's name
_CONTAINER = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")


_SOURCES = {
    "env": "AWS_ACCESS_KEY_ID and the variables that belong to it",
    "assume-role": "the role of profile {profile}",
    "assume-role-with-web-identity": "the role with a web identity token ({token})",
    "sso": "the SSO login of profile {profile}",
    "login": "the login of profile {profile}",
    "custom-process": "the credential_process of profile {profile}",
    "container-role": "the container's credentials ({container})",
    "iam-role": "the instance metadata service",
}
_ADVICE = {
    "env": "the keys have expired or are incomplete: log in again, or unset the variables",
    "sso": "log in: aws sso login --profile {profile}",
    "login": "log in: aws login --profile {profile}",
    "custom-process": "run the credential_process of profile {profile} in a shell to see why it "
    "fails: it must print the JSON of credentials, and ask nothing",
}


def describe(provider: Any, session: Session) -> str:
    """Return which source of credentials a provider of the SDK's chain stands for."""
    text = _SOURCES.get(provider.METHOD, f"{provider.METHOD}, profile {{profile}}")
    return text.format(**_names(provider, session))


def advice_for(provider: Any, session: Session) -> str | None:
    """Return what to do where a provider fails, None where nothing particular helps."""
    text = _ADVICE.get(provider.METHOD)
    return None if text is None else text.format(**_names(provider, session))


def _names(provider: Any, session: Session) -> dict[str, str]:
    profile = printable(getattr(provider, "_profile_name", None) or session.chosen_profile)
    return {
        "profile": profile,
        "token": _TOKEN_FILE if os.environ.get(_TOKEN_FILE) else f"profile {profile}",
        "container": next((one for one in _CONTAINER if os.environ.get(one)), _CONTAINER[0]),
    }


def reason_of(error: Exception, secrets: tuple[str, ...]) -> tuple[str, ServiceError | None]:
    """Return why a source failed, on one line and without secrets; and the service's own error."""
    if isinstance(error, HarvesterError):
        return str(error), error.__cause__ if isinstance(error.__cause__, ServiceError) else None
    if _is_of_a_call(error):
        operation = getattr(error, "operation_name", None) or "the call"
        made = translate(error, operation=operation, account=None, region=None, secrets=secrets)
        return str(made), made
    words = printable(redact(str(error), secrets))
    return words or type(error).__name__, None


def _is_of_a_call(error: Exception) -> bool:
    if isinstance(error, SSOError | TokenRetrievalError):
        return False
    kinds = (ClientError, HTTPClientError, SdkConnectionError)
    return isinstance(error, kinds) and isinstance(error, BotoCoreError | ClientError)
