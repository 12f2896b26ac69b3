from __future__ import annotations

import re
import time
from collections import Counter

import orjson
import pytest

from harvester.simulator import (
    Account,
    Image,
    Organization,
    OrganizationSpec,
    Pipeline,
    Target,
    make_findings,
    with_iso_timestamps,
)


def test_the_same_seed_gives_the_same_organization() -> None:
    spec = OrganizationSpec(findings=500, seed=11, suspended=2)
    one, two = Organization.generate(spec), Organization.generate(spec)
    other = Organization.generate(OrganizationSpec(findings=500, seed=12, suspended=2))
    assert one.accounts == two.accounts
    assert one.units == two.units
    assert one.all_findings() == two.all_findings()
    assert one.accounts != other.accounts
    assert one.all_findings() != other.all_findings()


@pytest.mark.parametrize("findings", [0, 1, 7, 999])
@pytest.mark.parametrize("skew", [0.0, 1.0, 2.0])
def test_the_number_of_findings_is_exact(findings: int, skew: float) -> None:
    organization = Organization.generate(
        OrganizationSpec(accounts=9, findings=findings, skew=skew, suspended=3, restricted=2)
    )
    assert len(organization.all_findings()) == findings


def test_findings_are_all_different_and_of_every_kind() -> None:
    findings = Organization.generate(OrganizationSpec(findings=3_000, seed=2)).all_findings()
    lines = [orjson.dumps(finding) for finding in findings]
    assert len(set(lines)) == len(lines)
    assert 1_200 < sum(map(len, lines)) / len(lines) < 2_600
    severities = Counter(finding["severity"] for finding in findings)
    assert set(severities) == {
        "CRITICAL", "HIGH", "MEDIUM", "LOW", "INFORMATIONAL", "UNTRIAGED",
    }  # fmt: skip
    assert severities["MEDIUM"] > severities["HIGH"] > severities["CRITICAL"]
    for name in ("imagePipelineArn", "inspectorScore", "description", "fixAvailable"):
        assert 0 < sum(name in finding for finding in findings) < len(findings)
    text = b"".join(lines).decode()
    for sample in ("脆弱性", "ثغرة", "🔥", "é", "\\n", '\\"', "\\u001b", "\u202e"):
        assert sample in text


def test_sizes_are_skewed_and_some_targets_empty() -> None:
    organization = Organization.generate(OrganizationSpec(findings=2_000, empty_share=0.5))
    sizes = sorted(len(organization.target(*place).findings) for place in organization.places())
    assert sizes[: len(sizes) // 2] == [0] * (len(sizes) // 2)
    assert sizes[-1] > 5 * sizes[-10]


def test_a_large_organization_is_made_at_once() -> None:
    start = time.process_time()
    organization = Organization.generate(
        OrganizationSpec(
            accounts=1_000, regions=tuple(f"us-east-{n}" for n in range(17)), findings=1_000_000
        )
    )
    assert sum(1 for _ in organization.places()) == 17_000
    assert time.process_time() - start < 2


def test_restricted_accounts_lack_a_region() -> None:
    organization = Organization.generate(OrganizationSpec(restricted=2))
    counts = Counter(account for account, _ in organization.places())
    assert sorted(counts.values())[:3] == [2, 2, 3]


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_arns_follow_the_partition(partition: str) -> None:
    organization = Organization.generate(OrganizationSpec(findings=50, partition=partition))
    for finding in organization.all_findings():
        assert finding["imageBuildVersionArn"].startswith(f"arn:{partition}:imagebuilder:")


@pytest.mark.parametrize(
    "spec",
    [
        {"accounts": 0},
        {"accounts": 2, "suspended": 2},
        {"regions": ()},
        {"findings": -1},
        {"empty_share": 1.5},
    ],
)
def test_impossible_specs_are_refused(spec: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"must|shares"):
        OrganizationSpec(**spec)  # type: ignore[arg-type]


def test_by_hand() -> None:
    findings = make_findings(40, account="111122223333", region="eu-west-1", seed=4)
    organization = Organization.single("111122223333", "eu-west-1", findings)
    target = organization.target("111122223333", "eu-west-1")
    assert organization.findings("111122223333", "eu-west-1") == findings
    assert {image.arn for image in target.images} == {
        finding["imageBuildVersionArn"] for finding in findings
    }
    assert {pipeline.arn for pipeline in target.pipelines} == {
        finding["imagePipelineArn"] for finding in findings if "imagePipelineArn" in finding
    }
    assert organization.with_findings("111122223333", "eu-west-1", []).all_findings() == []
    own = Target((Pipeline("arn:p", "Web Base"),), (Image("arn:x/web/1.2.3/4", "web"),))
    changed = organization.with_target("111122223333", "eu-west-1", own)
    assert changed.target("111122223333", "eu-west-1") is own
    assert own.images[0].version == "1.2.3/4"
    assert organization.account("111122223333") == Account("111122223333", "single", "r-a1b2")


def test_what_is_handed_out_is_a_copy() -> None:
    organization = Organization.single(findings=make_findings(2))
    organization.all_findings()[0]["packageVulnerabilityDetails"].clear()
    assert organization.all_findings() == make_findings(2)


def test_expected_has_iso_timestamps_and_nothing_else_changed() -> None:
    organization = Organization.generate(OrganizationSpec(findings=300, seed=6))
    iso = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
    for raw, line in zip(organization.all_findings(), organization.expected(), strict=True):
        for name in ("firstObservedAt", "updatedAt"):
            assert iso.fullmatch(line[name])
            raw[name] = line[name]
        for name in ("vendorCreatedAt", "vendorUpdatedAt"):
            if name in raw["packageVulnerabilityDetails"]:
                assert iso.fullmatch(line["packageVulnerabilityDetails"][name])
                raw["packageVulnerabilityDetails"][name] = line["packageVulnerabilityDetails"][name]
        assert raw == line


def test_an_iso_timestamp_to_the_millisecond() -> None:
    assert with_iso_timestamps({"updatedAt": 1772368245.123}) == {
        "updatedAt": "2026-03-01T12:30:45.123Z"
    }
    assert with_iso_timestamps({"updatedAt": 0}) == {"updatedAt": "1970-01-01T00:00:00.000Z"}


def test_expected_of_one_account_or_region() -> None:
    organization = Organization.generate(OrganizationSpec(findings=300, seed=6))
    account, region = next(p for p in organization.places() if organization.findings(*p))
    assert len(organization.expected(account, region)) == len(
        organization.findings(account, region)
    )
    by_region = [organization.expected(region=name) for name in organization.regions]
    assert sum(map(len, by_region)) == 300
