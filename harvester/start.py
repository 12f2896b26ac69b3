"""Importing the SDK without what makes that slow: the command's first third of a second."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

_AUTHORITIES = "SSL_CERT_FILE"


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import the SDK, and within the block what needs it, in two thirds of the usual CPU.

    For a process that is the project's own: what was imported is never looked at by the
    collector of cycles again, and aiohttp's own context lacks the system's file of authorities.
    The SDK does not use that context: it makes one with certificates of its own choice.
    """
    gc.disable()  # it would go through all modules again and again, and find nothing
    try:
        with _no_authorities():
            # From here, where the stack is low: below imports of our own it outgrows what
            # Python keeps of it just where urllib3 compiles its regular expressions, and then
            # memory is mapped and given back five thousand times.
            import aiobotocore.session  # noqa: F401

        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def _no_authorities() -> Iterator[None]:
    """Keep aiohttp from reading the system's certificates as it is imported."""
    before = os.environ.get(_AUTHORITIES)
    os.environ[_AUTHORITIES] = os.devnull
    try:
        yield
    finally:
        del os.environ[_AUTHORITIES]
        if before is not None:
            os.environ[_AUTHORITIES] = before
