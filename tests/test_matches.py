"""Which options that select accounts, regions and pipelines matched anything."""

from __future__ import annotations

from aiobotocore.session import AioSession

from harvester.aws.partitions import Partitions
from harvester.matches import Matches
from harvester.model import Account, Chosen, Regions
from harvester.settings import AccountSettings, FindingSettings, RegionSettings, Settings

_ONE, _TWO = Account("111111111111"), Account("222222222222")
_PARTITIONS = Partitions.of(AioSession())
_SETTINGS = Settings(
    accounts=AccountSettings(exclude=("333333333333", "444444444444")),
    regions=RegionSettings(include=("all",), exclude=("eu-west-1", "eu-west-2")),
    findings=FindingSettings(pipelines=("a*", "b*")),
)


def _matches(*, globs: tuple[str, ...] | None = (), resumed: bool = False) -> Matches:
    matches = Matches(_SETTINGS)
    matches.choose(Chosen((_ONE, _TWO), ("333333333333",), ()))
    matches.enter(_ONE, Regions(("us-east-1",), ("eu-west-1",)))
    matches.enter(_TWO, Regions((), ("eu-west-1",)))
    if globs is not None:
        matches.list(globs)
    if resumed:
        matches.resume()
    return matches


def test_options_that_match_nothing_are_warnings_each_once() -> None:
    matches = _matches(globs=("b*",))
    matches.list(())
    assert matches.nothing() is None
    assert [one.message for one in matches.of_accounts()] == [
        "accounts.exclude: 444444444444 is none of the selected accounts"
    ]
    assert [(one.message, one.account) for one in matches.of_targets(_PARTITIONS)] == [
        ("regions.exclude leaves no region of this account", _TWO.id),
        (
            (
                "regions.exclude (--exclude-region): 'eu-west-2' excludes nothing: "
                "it is not among the regions to sweep"
            ),
            None,
        ),
        ("findings.pipelines: no pipeline matches a*", None),
    ]


def test_globs_without_a_match_in_any_listed_target_select_nothing() -> None:
    nothing = _matches().nothing()
    assert nothing is not None
    assert (nothing.stage, nothing.message) == (
        "pipelines",
        "findings.pipelines: no pipeline matches a* or b*, in any target",
    )


def test_targets_that_could_not_be_listed_or_were_read_before_say_nothing_of_globs() -> None:
    assert _matches(globs=None).nothing() is None
    resumed = _matches(resumed=True)
    assert resumed.nothing() is None
    assert not [one for one in resumed.of_targets(_PARTITIONS) if "pipeline" in one.message]


def test_accounts_that_could_not_be_entered_say_nothing_of_regions() -> None:
    matches = Matches(_SETTINGS)
    matches.choose(Chosen((_ONE, _TWO), (), ()))
    assert matches.nothing() is None
    matches.enter(_ONE, Regions((), ("eu-west-1", "eu-west-2")))
    nothing = matches.nothing()
    assert nothing is not None
    assert nothing.stage == "regions"
    assert list(matches.of_targets(_PARTITIONS)) == []
