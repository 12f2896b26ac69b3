"""Names that the service says and paths and hosts are built from: what they may be."""

from __future__ import annotations

import re
from functools import cache

_ACCOUNT = re.compile(r"[0-9]{12}")
_REGION = re.compile(r"(?=.{1,63}\Z)[a-z0-9]+(-[a-z0-9]+)+")
_PARTITION = re.compile(r"aws[a-z-]{0,30}")


def is_account(text: str) -> bool:
    """Whether this can be an account's id: 12 digits."""
    return _ACCOUNT.fullmatch(text) is not None


def is_region(text: str) -> bool:
    """Whether this can be a region's name: one label of a host's name, in lower case.

    Not whether there is such a region: new ones need no new version of this project.
    """
    return _REGION.fullmatch(text) is not None


def is_partition(text: str) -> bool:
    """Whether this can be a partition of AWS: aws, aws-cn, aws-us-gov."""
    return _PARTITION.fullmatch(text) is not None


@cache
def operation_name(method: str) -> str:
    """Return the API's name of a client method: `list_images` is `ListImages`."""
    return "".join(part.capitalize() for part in method.split("_"))
