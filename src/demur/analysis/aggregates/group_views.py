"""What is asked of groups: which shares, and of which rows one of each group; and the answer, from sums over groups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from demur.analysis.aggregates.group_lines import Choice, GroupCounts, View
from demur.analysis.aggregates.row_counts import ACCEPTED, SITE
from demur.analysis.run_folder import GROUP, Run
from demur.metrics.unit_sums import UnitSums
from demur.policies import ClassThreshold, SiteThresholds

CLASSES, PAIRS = "classes", "pairs"
"""Views of clean rows by label: what the guard makes of each class, and what it is taken for."""

OF_ALL, OF_CLASS, OF_SITE = "all", "class", "site"
"""Choices of one row of each group: in a split, of each class in it, at each site in it."""


def policy_view(policy: str | None) -> str:
    """The view of what a policy makes of rows; without any, of rows alone."""
    return "rows" if policy is None else f"policy {policy}"


def views(run: Run, entry: Mapping[str, Any]) -> list[View]:
    """The shares that are told of a condition."""
    rows = ("split", "wrong", "fooled")
    found = [View(policy_view(name), (*rows, f"{ACCEPTED}{name}")) for name in run.policies]
    found = found or [View(policy_view(None), rows)]
    if entry["kind"] != "clean":
        return found
    answered = () if run.guard is None else (f"{ACCEPTED}{run.chosen_policy}",)
    classes = View(CLASSES, ("label", "split", "wrong", *answered), by=("label",))
    return [*found, classes, View(PAIRS, ("label", "predicted"), by=("label",), whole=True)]


def choices(run: Run, entry: Mapping[str, Any]) -> list[Choice]:
    """Of which rows one stands for each group, where they are counted so."""
    if run.guard is None and entry["kind"] != "clean":
        return []
    match run.guard:
        case ClassThreshold():
            return [Choice(OF_ALL), Choice(OF_CLASS, ("label",))]
        case SiteThresholds() if run.guard.column != GROUP:
            return [Choice(OF_ALL), Choice(OF_SITE, (SITE,))]
        case _:
            return [Choice(OF_ALL)]


@dataclass(frozen=True, eq=False)
class GroupShares:
    """The sums over groups of one view of a condition."""

    counts: GroupCounts
    condition: str
    view: str

    def sums(self, n: int, flagged: int, among: Sequence[Any], chosen: Sequence[Any]) -> UnitSums:
        """Of `n` rows of which all of `among` is true, `flagged` of which all of `chosen` is true of, too.

        Only the columns of the view may be spoken of.
        """
        own = self._cells.filter(*among)
        rows, flags = (cells["cell"] for cells in (own, own.filter(*chosen)))
        supports = _lines_of(self._supports, "cell", rows)
        every = None if self._is_whole else rows
        products = (self._products(*each) for each in ((flags, flags), (flags, every), (rows, every)))
        return UnitSums(n, flagged, flagged, int(supports.unique("support")["units"].sum()), *products)

    def _products(self, first: pl.Series, second: pl.Series | None) -> int:
        """Σ over groups of how many rows they have of some cells times how many of others, None being all of them."""
        pairs = _lines_of(self._pairs, "a", first)
        other = pl.col("b").is_null() if second is None else pl.col("b").is_in(second.implode())
        return int(pairs.filter(other)["sum"].sum())

    @cached_property
    def _cells(self) -> pl.DataFrame:
        """The kinds of rows of the view, with its own columns alone, so that no others can be spoken of."""
        found = self._table("cells")
        return found.select(each.name for each in found if each.null_count() < len(each))

    @cached_property
    def _pairs(self) -> pl.DataFrame:
        return self._table("pairs").sort("a")

    @cached_property
    def _is_whole(self) -> bool:
        return self._pairs["b"].null_count() > 0

    @cached_property
    def _supports(self) -> pl.DataFrame:
        return self._table("supports").sort("cell")

    def _table(self, name: str) -> pl.DataFrame:
        chosen = pl.col("condition") == self.condition, pl.col("view") == self.view
        return self.counts.tables[name].filter(*chosen)


def _lines_of(table: pl.DataFrame, column: str, cells: pl.Series) -> pl.DataFrame:
    """The lines of some cells, of a table in the order of the cells; looked for among the nearest alone."""
    if cells.is_empty():
        return table.clear()
    places, ends = table[column].to_numpy(), cells.to_numpy()
    first, end = np.searchsorted(places, ends.min()), np.searchsorted(places, ends.max(), side="right")
    return table[int(first) : int(end)].filter(pl.col(column).is_in(cells.implode()))
