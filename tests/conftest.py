from __future__ import annotations

import os

import pytest
from hypothesis import settings

# A loaded machine is no failure.
settings.register_profile("harvester", deadline=None)
settings.load_profile("harvester")


@pytest.fixture(autouse=True)
def no_aws_settings_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees, or calls with, whatever the shell is configured for."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
