"""The SDK's models of its services, found and read in a fifth of the time that it takes itself.

For each client the SDK looks through the folders of all its four hundred services, and decodes
megabytes of JSON in Python's own decoder: an eighth of the time until the first call.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError
from botocore.loaders import JSONFileLoader, create_loader

from harvester.aws.endpoints import SERVICES

_KINDS = ("service-2", "endpoint-rule-set-1")
"""The models that the SDK reads for a client, by the names of their files."""


def quicken(session: AioSession, services: Sequence[str] = SERVICES) -> None:
    """Let a session find and read the models of the services that a sweep asks, and no others.

    They come from where the SDK looks for them: AWS_DATA_PATH, ~/.aws/models, its own folder.
    Raises what the session raises where its configuration cannot be read.
    """
    loader = create_loader(session.get_config_variable("data_path"))
    loader.file_loader = _Files()
    loader.list_available_services = lambda type_name: services  # noqa: ARG005  # of each type
    session.register_component("data_loader", loader)


def load_models(session: AioSession, service: str) -> None:
    """Read the models of a service, which the session keeps, so that a client is made at once.

    To be called in a thread: the largest have megabytes. A model that is missing or damaged is
    left to the making of the client, which says so.
    """
    loader = session.get_component("data_loader")
    with suppress(BotoCoreError, OSError, ValueError):
        for kind in _KINDS:
            loader.load_service_model(service, kind)


class _Files(JSONFileLoader):  # type: ignore[misc]  # the SDK is untyped
    """Reads the files of models."""

    def load_file(self, file_path: str) -> Any:
        """Return what the file holds, named without its ending; None where there is none."""
        plain, packed = Path(f"{file_path}.json"), Path(f"{file_path}.json.gz")
        if plain.is_file():
            return orjson.loads(plain.read_bytes())
        if packed.is_file():
            return orjson.loads(gzip.decompress(packed.read_bytes()))
        return None
