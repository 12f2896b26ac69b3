"""Which options that select accounts, regions and pipelines matched anything: no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harvester.aws.partitions import Partitions
from harvester.events import NothingSelected, Warned
from harvester.model import Account, Chosen, Regions
from harvester.settings import Settings
from harvester.settings.arn_scope import place_of
from harvester.settings.filters import KNOWN_SEVERITIES
from harvester.settings.values import shown


class Matches:
    """What the selection matched so far, as the sweep finds it out.

    A selection that matches nothing is a problem; an option that matches nothing beside others
    that do is a warning.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._chosen = Chosen((), (), ())
        self._regions: set[str] = set()
        self._without_region: list[Account] = []
        self._targets = False
        self._entered: set[str] = set()
        self._places: set[tuple[str, str]] = set()
        self._listed = False
        self._globs: set[str] = set()
        self._resumed = False

    def choose(self, chosen: Chosen) -> None:
        """Note the accounts of the sweep."""
        self._chosen = chosen

    def enter(self, account: Account, regions: Regions) -> None:
        """Note the regions of an account."""
        self._regions.update(regions.excluded)
        self._targets = self._targets or bool(regions.names)
        self._entered.add(account.id)
        self._places.update((account.id, region) for region in regions.names)
        if not regions.names:
            self._without_region.append(account)

    def list(self, globs: Sequence[str]) -> None:
        """Note which globs match a pipeline of a target whose pipelines were listed."""
        self._listed = True
        self._globs.update(globs)

    def resume(self) -> None:
        """Note that an earlier run has read pages of a target, whose pipelines are not listed."""
        self._resumed = True

    def of_accounts(self) -> Iterator[Warned]:
        """Yield warnings of options that match no account."""
        chosen, options = self._chosen, self._settings.accounts
        for unit in chosen.empty_units:
            if chosen.accounts:
                yield _unmatched(f"accounts.organizational_units: {unit} has no account")
        for account in options.exclude:
            if account not in chosen.excluded:
                yield _unmatched(f"accounts.exclude: {account} is none of the selected accounts")

    def of_targets(self, partitions: Partitions) -> Iterator[Warned]:
        """Yield warnings of options that match no region or pipeline, once all are known."""
        if not self._targets:
            return
        for account in self._without_region:
            message = "regions.exclude leaves no region of this account"
            yield Warned(code="NoRegionLeft", message=message, account=account.id)
        for region in self._settings.regions.exclude:
            if region not in self._regions:
                yield _unmatched(_excludes_nothing(region, partitions))
        if self._globs and not self._resumed:
            for glob in self._settings.findings.pipelines:
                if glob not in self._globs:
                    yield _unmatched(f"findings.pipelines: no pipeline matches {glob}")

    def nothing(self, findings: int | None = None) -> NothingSelected | None:
        """Return why nothing is selected, None where something is.

        `findings` is how many were read, None where none are read at all.
        """
        if not any(account.active for account in self._chosen.accounts):
            return NothingSelected(stage="accounts", message=self._no_account())
        if self._without_region and not self._targets:
            excluded = ", ".join(self._settings.regions.exclude)
            message = f"regions.exclude ({excluded}) leaves no region of any account"
            return NothingSelected(stage="regions", message=message)
        if self._listed and not self._globs and not self._resumed:
            globs = " or ".join(self._settings.findings.pipelines)
            message = f"findings.pipelines: no pipeline matches {globs}, in any target"
            return NothingSelected(stage="pipelines", message=message)
        if (filtered := self._filtered_out(findings)) is not None:
            return NothingSelected(stage="findings", message=filtered)
        return None

    def _filtered_out(self, findings: int | None) -> str | None:
        """Return which filter can match nothing in any target, None where each may match."""
        filters = self._settings.findings.filters
        for name in ("imageBuildVersionArn", "imagePipelineArn"):
            arns = filters.get(name, ())
            if arns and not any(self._may_match(arn) for arn in arns):
                return f"findings.filters.{name}: {shown(arns[0])} lies in none of the targets"
        severities = filters.get("severity", ())
        if findings == 0 and severities and not set(severities) & set(KNOWN_SEVERITIES):
            return f"findings.filters.severity: no finding has severity {' or '.join(severities)}"
        return None

    def _may_match(self, arn: str) -> bool:
        """Return whether an ARN lies in a target, or in an account whose targets are not known."""
        place = place_of(arn)
        if place is None or place in self._places:
            return True
        active = {account.id for account in self._chosen.accounts if account.active}
        return place[0] in active - self._entered

    def _no_account(self) -> str:
        chosen, options = self._chosen, self._settings.accounts
        if chosen.accounts:
            states = ", ".join(sorted({account.state for account in chosen.accounts}))
            return f"no selected account is ACTIVE: {len(chosen.accounts)} accounts are {states}"
        if chosen.excluded:
            return f"accounts.exclude ({', '.join(chosen.excluded)}) leaves no account"
        if options.organization:
            return "accounts.organization: the organization has no accounts"
        units = ", ".join(options.organizational_units)
        return f"accounts.organizational_units: no accounts below {units}"


def _excludes_nothing(region: str, partitions: Partitions) -> str:
    line = f"regions.exclude (--exclude-region): {shown(region)} excludes nothing"
    if partitions.knows(region):
        return f"{line}: it is not among the regions to sweep"
    meant = partitions.suggest(region)
    return f"{line}: unknown region" + (f"; did you mean {meant}?" if meant else "")


def _unmatched(message: str) -> Warned:
    return Warned(code="UnmatchedOption", message=message)
