"""Which known name was meant."""

from __future__ import annotations

import pytest
from aiobotocore.session import AioSession
from hypothesis import given
from hypothesis import strategies as st

from harvester.aws.partitions import Partitions
from harvester.spelling import closest, edits


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("us-esat-1", "us-east-1"),
        ("us-east1", "us-east-1"),
        ("eu-wets-3", "eu-west-3"),
        ("EU-WEST-1", "eu-west-1"),
        ("us-gov-wst-1", "us-gov-west-1"),
        ("cn-nort-1", "cn-north-1"),
        ("xx-yyy-1", None),
        ("", None),
    ],
)
def test_the_region_with_the_fewest_edits_is_suggested(text: str, meant: str | None) -> None:
    assert Partitions.of(AioSession()).suggest(text) == meant


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_edits_are_a_distance(one: str, other: str) -> None:
    assert edits(one, other) == edits(other, one)
    assert (edits(one, other) == 0) == (one == other)
    assert abs(len(one) - len(other)) <= edits(one, other) <= max(len(one), len(other))


def test_a_swap_is_one_edit() -> None:
    assert edits("abcd", "abdc") == 1
    assert closest("abdc", ()) is None


def test_regions_belong_to_partitions_by_name_or_by_pattern() -> None:
    known = Partitions.of(AioSession())
    for region, partition in {
        "us-east-1": "aws",
        "eu-new-9": "aws",
        "cn-new-9": "aws-cn",
        "us-gov-west-1": "aws-us-gov",
    }.items():
        found = known.of_region(region)
        assert found is not None
        assert found.name == partition
        assert known.knows(region) is ("new" not in region)
    assert known.of_region("aws-global") is None
    assert not known.knows("aws-global")
    assert known.of_arn("arn:aws-cn:iam::111122223333:role/R") is known.by_name["aws-cn"]
    assert known.of_arn("no arn") is None
