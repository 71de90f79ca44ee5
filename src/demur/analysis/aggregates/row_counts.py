"""What rows are counted by; and counts of rows that are independent images, with what their calibration is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from demur.analysis.robustness.attack_tables import is_fooled
from demur.analysis.run_folder import Run
from demur.metrics.calibration_sums import CalibrationSums
from demur.policies import SiteThresholds

_COMPACT = 200_000
"""Lines of counts that are kept before equal ones are added up."""

ACCEPTED = "accepts."
"""Columns that begin so say whether a policy answers."""

SITE = "site"
"""The column of the site of a row, where the guarantee has thresholds by site and one for this."""

NAMED = "named"
"""The column, where images come in groups, that says whether a row has one."""


@dataclass
class Tally:
    """Lines of counts, added up now and then."""

    keys: Sequence[str]
    lines: list[pl.DataFrame] = field(default_factory=list)
    size: int = 0

    def add(self, counted: pl.DataFrame) -> None:
        """Some more lines, with a `count` each."""
        self.lines.append(counted)
        self.size += counted.height
        if self.size > _COMPACT:
            before = self.table()
            self.lines, self.size = [before], 0

    def table(self) -> pl.DataFrame:
        """One line for each key, in their order."""
        return pl.concat(self.lines).group_by(self.keys).agg(pl.col("count").sum()).sort(self.keys)


def kinds(run: Run, entry: Mapping[str, Any], found: pl.DataFrame) -> pl.DataFrame:
    """What each row is counted by: split, label, answer, whether it is fooled, what policies make of it; and more."""
    accepted = {f"{ACCEPTED}{name}": pl.Series(run.accepts(policy, found)) for name, policy in run.policies.items()}
    told = found.select("split", "label", "predicted").with_columns(
        fooled=pl.Series(is_fooled(found, entry), dtype=pl.Boolean), **accepted
    )
    if isinstance(run.guard, SiteThresholds):
        sites, known = run.sites(run.guard.column, found), list(run.guard.thresholds)
        told = told.with_columns(sites.set(~sites.is_in(known), None).alias(SITE))
    return told if run.facts["groups"] is None else told.with_columns(found["group"].is_not_null().alias(NAMED))


@dataclass
class LoneRows:
    """Counts of rows, as they are read."""

    tally: Tally = field(default_factory=lambda: Tally(()))

    def add(self, columns: pl.DataFrame, _: pl.DataFrame) -> None:
        """Some more rows, by what each is counted."""
        self.tally.keys = columns.columns
        self.tally.add(columns.group_by(columns.columns).agg(count=pl.len().cast(pl.Int64)))

    def counted(self) -> tuple[pl.DataFrame, None]:
        """How many there are of each kind; of groups there is nothing to tell."""
        return self.tally.table(), None


@dataclass
class LoneBins:
    """What calibration is made of, as rows are read."""

    found: CalibrationSums = field(default_factory=CalibrationSums.empty)

    def add(self, logits: Any, rows: pl.DataFrame) -> None:
        """Some more rows, with their logits."""
        self.found = self.found.plus(logits, rows["label"].to_numpy())

    def sums(self) -> CalibrationSums:
        """The sums over rows."""
        return self.found
