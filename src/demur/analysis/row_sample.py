"""Some rows of every condition, in place of all, where a run has more than a machine should hold."""

from collections.abc import Mapping
from dataclasses import dataclass

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

    @property
    def passes(self) -> tuple[int, int]:
        """All forwards and backwards made."""
        return int(self.effort["forwards"].sum()), int(self.effort["backwards"].sum())
