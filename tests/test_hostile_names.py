"""Names that a service says: a path below the output and a host of AWS's, or nothing."""

from __future__ import annotations

import os
import string
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import example, given, settings
from hypothesis import strategies as st

from harvester.aws.bodies import page_of
from harvester.errors import OutputError
from harvester.model import Query, Target
from harvester.names import is_account, is_partition, is_region
from harvester.output.open import sink_for
from harvester.output.results import Results
from harvester.settings import OutputSettings, Settings

_ANY = st.text(st.characters(exclude_categories=()), max_size=80)
_CLOSE = st.text("0123456789", min_size=11, max_size=13) | st.text(
    f"{string.ascii_lowercase}12-./", min_size=1, max_size=300
)
_LABEL = frozenset(f"{string.ascii_lowercase}{string.digits}-")


def _below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@settings(max_examples=60)
@given(_ANY | _CLOSE, _ANY | _CLOSE)
@example("111122223333", "us-east-1")
@example("111122223333", "../us-east-1")
@example("..", "us-east-1")
@example("111122223333", "a-" + "b" * 62)
@example("111122223333", "a-" + "b" * 300)
@example("111122223333", "us-east-1.evil.example/")
async def test_any_name_is_a_path_below_the_output_or_an_output_error(
    account: str, region: str
) -> None:
    # A folder for each example: a fixture would be shared by them.
    with TemporaryDirectory() as name:
        outside = Path(name)
        folder = outside / "a" / "b" / "out"
        folder.parent.mkdir(parents=True)
        published = True
        chosen = Settings(output=OutputSettings(path=f"{folder}/"))
        async with sink_for(chosen) as sink:
            query = Query(Target(account, region))
            sink.begin(query.target, [query], None)
            await sink.write(query, page_of([{"n": 1}], None))
            await sink.finished(query.target)
            try:
                await sink.publish(Results({query.target}))
            except OutputError:
                published = False
        place = f"a/b/out/account={account}/region={region}/findings.ndjson"
        made = {one for one in _below(outside) if "/.harvester/" not in one}
        assert made == ({place} if published else set())
        assert set(os.listdir(outside)) <= {"a"}  # noqa: PTH208  # its names
        if is_account(account) and is_region(region):
            assert published, "what is let in can be written"


@given(_ANY | _CLOSE)
@example("us-east-1\n")
@example("us-east-1.evil.example")
@example("us-east-1/")
@example("ap-southeast-٣")
def test_a_region_is_one_label_of_a_host(text: str) -> None:
    if is_region(text):
        assert set(text) <= _LABEL
        assert len(text) <= 63
        assert not text.startswith("-")
        assert not text.endswith("-")


@given(_ANY | _CLOSE)
@example("１" * 12)  # noqa: RUF001  # digits, but no ASCII
@example("111122223333\n")
def test_an_account_is_twelve_digits(text: str) -> None:
    assert is_account(text) == (len(text) == 12 and set(text) <= set(string.digits))


def test_real_names_are_let_in() -> None:
    regions = ("us-east-1", "us-gov-west-1", "cn-northwest-1", "us-isob-east-1", "eusc-de-east-1")
    assert all(is_region(region) for region in regions)
    assert is_account("000000000001")
    assert all(is_partition(one) for one in ("aws", "aws-cn", "aws-us-gov", "aws-iso-b"))
    assert not any(is_partition(one) for one in ("", "aws:iam", "evil", "aws/x", "aws\n"))
