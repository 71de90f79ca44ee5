"""Rows of a condition by split; and some rows of every one, where a run has more than a machine should hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from demur.records import LOGIT, read_pieces


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


def clean_logits(run: Path, chosen: pl.Series, classes: int) -> NDArray[Any]:
    """The logits of some clean rows, float32 (rows, classes), read shard by shard into one array.

    Args:
        run: the folder.
        chosen: a flag for each clean row, in planned order.
        classes: how many there are; without a column where no logits were kept.
    """
    names, row, place = [f"{LOGIT}{k}" for k in range(classes)], 0, 0
    found = np.empty((int(chosen.sum()), classes), np.float32, order="F")
    for shard in read_pieces(run, "clean", {"sample_id", *names}.__contains__):
        part = shard.filter(chosen[row : row + len(shard)])
        kept = [name for name in names if name in part.columns]
        if kept:
            found[place : place + len(part), : len(kept)] = part.select(kept).to_numpy()
        found, row, place = found[:, : len(kept)], row + len(shard), place + len(part)
    return found
