"""The targets a signal is ranked on: error, attack, shift."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from demur.analysis.quantity import Quantity
from demur.analysis.run_folder import Flags, Run
from demur.metrics import Estimate
from demur.records import groups, wrong

TargetName: TypeAlias = Literal["error", "attack", "attack_oblivious", "shift"]


@dataclass(frozen=True)
class Target:
    """Rows to score and which of them (`positive`) should score high; `units` are resampled as one."""

    name: TargetName
    rows: pl.DataFrame
    positive: Flags
    units: NDArray[Any] | None

    def only(self, chosen: Flags) -> "Target":
        """Some of its rows."""
        units = None if self.units is None else self.units[chosen]
        return replace(self, rows=self.rows.filter(chosen), positive=self.positive[chosen], units=units)

    @property
    def is_test(self) -> Flags:
        """Rows that no signal was fitted on and no policy chosen by."""
        return np.asarray((self.rows["split"] == "test").to_numpy(), bool)

    def quantity(self, estimate: Estimate) -> Quantity:
        """The unit is the image where rows are tied together only because they are of one image."""
        quantity = Quantity.of(estimate)
        return quantity if groups(self.rows) is not None else quantity.model_copy(update={"unit": "image"})


def targets(run: Run) -> Iterator[Target]:
    """Every target the run has rows for."""
    clean = run.rows("clean")
    yield Target("error", clean, wrong(clean), groups(clean))
    keeps: tuple[tuple[TargetName, str], ...] = (("attack", "worst"), ("attack_oblivious", "nearest"))
    for name, keep in keeps:
        found = run.conditions("attack", keep)
        if found:
            yield _attack(run, name, found[0]["name"])
    corrupted = [run.rows(entry["name"], "test") for entry in run.conditions("corruption")]
    if corrupted:
        yield _against_clean("shift", pl.concat(corrupted, how="diagonal"), run.rows("clean", "test"))


def _attack(run: Run, name: TargetName, condition: str) -> Target:
    """Rows that were right and are now wrong, against the same images unattacked."""
    attacked = run.rows(condition)
    clean = run.rows("clean").join(attacked.select("sample_id"), on="sample_id", how="semi")
    right = clean.filter(~pl.Series(wrong(clean))).select("sample_id")
    flipped = attacked.filter(pl.Series(wrong(attacked))).join(right, on="sample_id", how="semi")
    return _against_clean(name, flipped, clean)


def _against_clean(name: TargetName, positive: pl.DataFrame, clean: pl.DataFrame) -> Target:
    scored = pl.col(r"^(sample_id|split|group|signal\..*|part\..*)$")
    rows = pl.concat([positive.select(scored), clean.select(scored)], how="diagonal")
    flags = np.arange(len(rows)) < len(positive)
    units = groups(rows)
    return Target(name, rows, flags, rows["sample_id"].to_numpy() if units is None else units)
