"""Rows of a condition by split; and some rows of every one, where a run has more than a machine should hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl


@dataclass(frozen=True, eq=False)
class RowSample:
    """The rows of some images, those on which something failed among them, and what was counted of all rows.

    Attributes:
        tables: rows of each condition, without logits.
        logits: `sample_id` and the logits of the clean ones.
        effort: `condition rows forwards backwards rebatched`, a line for each condition, of all rows.
    """

    tables: Mapping[str, pl.DataFrame]
    logits: pl.DataFrame
    effort: pl.DataFrame

    def effort_of(self, condition: str, column: str) -> int:
        """One count of a condition."""
        return int(self.effort.filter(pl.col("condition") == condition)[column].sum())


@dataclass(frozen=True, eq=False)
class MeasuredRows:
    """Rows of a condition, and those of each split once they were asked for: they are copies."""

    every: pl.DataFrame
    by_split: dict[str, pl.DataFrame] = field(default_factory=dict)

    def of(self, split: str) -> pl.DataFrame:
        """The rows of a split, in order."""
        if split not in self.by_split:
            self.by_split[split] = self.every.filter(pl.col("split") == split)
        return self.by_split[split]
