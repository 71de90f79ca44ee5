"""Rows that were counted: how many are so, which share, by image or by group, and what the guarantee makes of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from demur.analysis.aggregates.group_views import OF_ALL, OF_CLASS, OF_SITE, GroupShares, policy_view
from demur.analysis.aggregates.row_counts import ACCEPTED, NAMED, SITE
from demur.analysis.aggregates.shard_counts import ShardCounts
from demur.analysis.quantity import Quantity
from demur.analysis.run_folder import GROUP, Run
from demur.metrics.binomial import clopper_pearson, proportion_of, wilson
from demur.metrics.estimate import Estimate, Unit
from demur.metrics.unit_sums import UnitSums
from demur.policies import ClassThreshold, SiteThresholds
from demur.policies.keeping import Part

WRONG = pl.col("wrong")
"""Whether the answer of a row is not its label."""


@dataclass(frozen=True)
class Counted:
    """Lines of counts, of some conditions or classes.

    Attributes:
        table: the lines.
        groups: sums over groups of one view of the condition, of which rows are `chosen`; None where images are
            independent, or each row is the only one of its group.
        chosen: what is true of these rows.
    """

    table: pl.DataFrame
    groups: GroupShares | None = None
    chosen: tuple[Any, ...] = ()

    def where(self, *chosen: Any) -> "Counted":
        """The lines of which all this is true."""
        return replace(self, table=self.table.filter(*chosen), chosen=(*self.chosen, *chosen))

    @property
    def n(self) -> int:
        """How many rows they are of."""
        return int(self.table["count"].sum())

    @property
    def unit(self) -> Unit:
        """What is independent: the image where none of these rows has a group."""
        return "group" if NAMED in self.table.columns and self.table[NAMED].any() else "image"

    @property
    def units(self) -> int:
        """How many of it there are."""
        return self._sums(0, ()).units if self.unit == "group" else self.n

    def number(self, *chosen: Any) -> int:
        """How many of the rows are so."""
        return self.where(*chosen).n

    def share(self, *chosen: Any, several: int | None = None) -> Quantity:
        """The share of the rows that are so."""
        return Quantity.of(self.estimate(*chosen, several=several))

    def estimate(self, *chosen: Any, several: int | None = None, unit: Unit | None = None) -> Estimate:
        """The same as an estimate; for all of `several` at once, and by another unit than these rows have, if asked."""
        return self.estimates(*chosen, several=(several,), unit=unit)[0]

    def estimates(self, *chosen: Any, several: Sequence[int | None], unit: Unit | None = None) -> tuple[Estimate, ...]:
        """The same for each of `several`."""
        count, n = self.number(*chosen), self.n
        if (unit or self.unit) == "group":
            sums = self._sums(count, chosen)
            return tuple(proportion_of(sums, each) for each in several)
        return tuple(wilson(count, n) if each is None else clopper_pearson(count, n, each) for each in several)

    def _sums(self, count: int, flagged: tuple[Any, ...]) -> UnitSums:
        if self.groups is None:
            return UnitSums.of_singles(count, self.n)
        return self.groups.sums(self.n, count, self.chosen, flagged)


@dataclass(frozen=True)
class CountedRun:
    """A run beside the counts of all of its rows."""

    run: Run
    counts: ShardCounts

    def rows(self, condition: str, splits: Collection[str] | None = None, view: str | None = None) -> Counted:
        """The counts of a condition, of some splits if asked; shares are told of what a view has, by default the guard.

        Shares of rows that come in groups may be asked of the columns of the view alone.
        """
        groups = self.counts.groups
        view = policy_view(self.run.chosen_policy) if view is None else view
        shares = None if groups is None else GroupShares(groups, condition, view)
        return _of_splits(Counted(_of_condition(self.counts.rows, condition), shares), splits)

    def singles(self, condition: str, splits: Collection[str], choice: str = OF_ALL) -> Counted:
        """One row of each group in each split, all rows where images are independent."""
        groups = self.counts.groups
        if groups is None:
            return self.rows(condition, splits)
        table = groups.singles.filter(pl.col("choice") == choice)
        return _of_splits(Counted(_of_condition(table, condition)), splits)

    @property
    def unfitted(self) -> Counted:
        """Clean rows for numbers that no label was fitted for."""
        return self.unfitted_rows(None)

    def unfitted_rows(self, view: str | None) -> Counted:
        """The same, of which shares are told of what a view has."""
        if self.run.has_test_rows:
            return self.rows("clean", ["test"], view)
        return self.rows("clean", None, view).where(pl.col("split") != "fit")

    @property
    def answered(self) -> Any:
        """Whether the guard answers; true of all rows where there is no guard."""
        return pl.lit(value=True) if self.run.guard is None else pl.col(f"{ACCEPTED}{self.run.chosen_policy}")

    def parts(self, condition: str) -> tuple[Part, ...]:
        """The shares that the guarantee is about, on the test rows of a condition."""
        guard, test = self.run.guard, ["test"]
        match guard:
            case None:
                return ()
            case ClassThreshold():
                rows = self.singles(condition, test, OF_CLASS)
                return tuple(
                    self._part(each.name, each.risk, rows.where(pl.col("label") == k), among_all=True)
                    for k, each in enumerate(guard.certificate.classes)
                )
            case SiteThresholds():
                alone = guard.column == GROUP  # images of a site that is a group are independent within it
                rows = self.rows(condition, test) if alone else self.singles(condition, test, OF_SITE)
                return tuple(
                    self._part(each.site, guard.certificate.risk, rows.where(pl.col(SITE) == each.site))
                    for each in guard.certificate.sites
                )
            case _:
                return (self._part(None, guard.certificate.risk, self.singles(condition, test)),)

    def _part(self, name: str | None, risk: float, rows: Counted, *, among_all: bool = False) -> Part:
        answers, errors = rows.number(self.answered), rows.number(self.answered, WRONG)
        return Part(name=name, risk=risk, n=rows.n, answers=answers, errors=errors, of=rows.n if among_all else answers)


def _of_condition(table: pl.DataFrame, condition: str) -> pl.DataFrame:
    return table.filter(pl.col("condition") == condition).with_columns(wrong=pl.col("predicted") != pl.col("label"))


def _of_splits(rows: Counted, splits: Collection[str] | None) -> Counted:
    return rows if splits is None else rows.where(pl.col("split").is_in(list(splits)))
