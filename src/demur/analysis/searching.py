"""The searches for the smallest change of whole images that a run has."""

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from demur.analysis.robustness import smallest, unlimited
from demur.analysis.run import Run

Entry = Mapping[str, Any]
"""What run.json says of one condition."""


def section_searches(run: Run) -> Iterator[Entry]:
    """Those of the plan's section on it; what is confined to a region is none of them."""
    return (entry for entry in run.conditions("epsilon") if entry["region"] is None)


def attack_searches(run: Run) -> Iterator[Entry]:
    """Those among the attacks; what is confined to a size or a target is none of them."""
    return (entry for entry in run.conditions("attack", "nearest") if unlimited(entry) and entry.get("target") is None)


def is_direction(entry: Entry) -> bool:
    """Whether a search follows one direction: then it has a cap, and a scan of some resolution."""
    return entry["resolution"] is not None


def changes(run: Run, entry: Entry, name: str) -> pl.DataFrame:
    """The smallest change of each image by sample id, as a column of some name; null where none could be searched."""
    rows = run.rows(entry["name"])
    return pl.DataFrame({"sample_id": rows["sample_id"], name: pl.Series(smallest(rows)).fill_nan(None)})
