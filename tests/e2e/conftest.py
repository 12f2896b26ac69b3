from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.support import Command


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Runs `harvester` in an empty folder."""
    return Command(tmp_path)
