"""After a power cut the journal says nothing that the spool does not hold."""

from __future__ import annotations

import random
from pathlib import Path

from tests.torture.powercut import cut_power


async def test_after_a_power_cut_what_the_journal_says_is_in_the_spool(tmp_path: Path) -> None:
    assert await cut_power(tmp_path, random.Random(1)) > 100
