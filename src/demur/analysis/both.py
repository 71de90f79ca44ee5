"""What two runs know of the same images."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from demur.analysis.compared import Changes, ClassChanges, Shares
from demur.analysis.reach import ROUNDING, finite, reach
from demur.analysis.robustness import smallest, stage_names
from demur.analysis.run import Floats, Run, groups, share
from demur.analysis.searching import Entry, attack_searches, section_searches
from demur.analysis.table import Quantity
from demur.metrics.holm import holm
from demur.metrics.paired import mcnemar, paired
from demur.metrics.quantile import FEWEST

_FIRST, _SECOND = "first", "second"
_NEVER = "on too many images only one of the two was ever flipped"


@dataclass(frozen=True)
class Both:
    """Two runs on the same data, image by image."""

    first: Run
    second: Run

    def joined(self, condition: str, value: Callable[[Run, pl.DataFrame], ArrayLike]) -> pl.DataFrame:
        """The images both runs have under a condition, with what `value` makes of each run's rows."""
        one, other = self.first.rows(condition), self.second.rows(condition)
        one = one.with_columns(pl.Series(_FIRST, np.asarray(value(self.first, one))))
        other = other.with_columns(pl.Series(_SECOND, np.asarray(value(self.second, other))))
        return one.join(other.select("sample_id", _SECOND), on="sample_id", how="inner", maintain_order="left")

    def shared(self, found: Callable[[Run], Iterator[Entry]]) -> Iterator[tuple[Entry, Entry]]:
        """The conditions of a sort that both runs have, in the order of the first."""
        known = {entry["name"]: entry for entry in found(self.second)}
        return ((entry, known[entry["name"]]) for entry in found(self.first) if entry["name"] in known)


def searched(run: Run) -> Iterator[Entry]:
    """Every search for the smallest change of whole images that was not confined to a target."""
    yield from attack_searches(run)
    yield from section_searches(run)


def ensembles(run: Run) -> Iterator[Entry]:
    """Every ensemble of attacks, strongest at one size."""
    for entry in run.conditions("attack", "nearest"):
        if entry["severity"] and stage_names(run.rows(entry["name"])):
            yield entry


def shares(rows: pl.DataFrame) -> Shares:
    """Which images each of two models has right."""
    first, second = (rows[name].to_numpy() for name in (_FIRST, _SECOND))
    found = mcnemar(first, second, groups(rows))
    return Shares(
        n=found.n,
        first=share(first, rows),
        second=share(second, rows),
        only_first=found.larger,
        only_second=found.smaller,
        p_value=found.p_value,
        difference=Quantity.of(found.effect),
    )


def changes(rows: pl.DataFrame, cap: float | None) -> Changes:
    """The smallest changes of two models."""
    first, second = (capped(rows[name].to_numpy(), cap) for name in (_FIRST, _SECOND))
    units = groups(rows)
    found = paired(first, second, units)
    return Changes(
        n=found.n,
        first=reach(first, units, cap),
        second=reach(second, units, cap),
        first_larger=found.larger,
        second_larger=found.smaller,
        ties=found.ties,
        p_value=found.p_value,
        difference=finite(found.difference, _NEVER),
        effect=Quantity.of(found.effect),
    )


def class_changes(rows: pl.DataFrame, cap: float | None, classes: tuple[str, ...]) -> tuple[ClassChanges, ...]:
    """The same class by class, of classes that have images; p-values by Holm."""
    found = [(classes[k], changes(own, cap)) for (k,), own in sorted(rows.group_by("label", maintain_order=True))]
    asked = [each.p_value if each.first.n >= FEWEST else np.nan for _, each in found]
    return tuple(
        ClassChanges(name=name, changes=each, p_value=p) for (name, each), p in zip(found, holm(asked), strict=True)
    )


def smallest_of(_: Run, rows: pl.DataFrame) -> Floats:
    """The smallest change of each row."""
    return smallest(rows)


def capped(found: Floats, cap: float | None) -> Floats:
    """Changes above the cap are infinite."""
    return found if cap is None else np.where(found > cap + ROUNDING, np.inf, found)
