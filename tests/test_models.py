"""The SDK's models: what the quick way to them finds is what the SDK finds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from aiobotocore.session import AioSession
from botocore.exceptions import DataNotFoundError, UnknownServiceError
from botocore.loaders import Loader, create_loader

from harvester.aws.models import quicken

_SERVICES = ("ec2", "imagebuilder", "organizations", "sts")


def _quick() -> Loader:
    session = AioSession()
    quicken(session)
    return session.get_component("data_loader")


@pytest.mark.parametrize("kind", ["service-2", "endpoint-rule-set-1", "paginators-1"])
@pytest.mark.parametrize("service", _SERVICES)
def test_models_are_the_sdk_s(service: str, kind: str) -> None:
    found = _quick().load_service_model(service, kind)

    assert found == create_loader().load_service_model(service, kind)


@pytest.mark.parametrize("name", ["endpoints", "partitions", "_retry", "sdk-default-configuration"])
def test_what_all_services_share_is_the_sdk_s(name: str) -> None:
    assert _quick().load_data(name) == create_loader().load_data(name)


def test_a_model_of_the_user_s_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "imagebuilder" / "2999-01-01"
    folder.mkdir(parents=True)
    (folder / "service-2.json").write_text(json.dumps({"metadata": {"ü": 1}}))
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))

    assert _quick().load_service_model("imagebuilder", "service-2") == {"metadata": {"ü": 1}}


def test_other_services_are_unknown() -> None:
    with pytest.raises(UnknownServiceError):
        _quick().load_service_model("s3", "service-2")
    with pytest.raises(DataNotFoundError):
        _quick().load_data("nothing")
