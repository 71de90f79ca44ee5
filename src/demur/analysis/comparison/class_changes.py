"""Which classes gained and which lost, of clean images and of the worst case."""

import numpy as np
import polars as pl
from scipy.special import ndtri

from demur.analysis.comparison.joined_runs import Runs
from demur.analysis.comparison.phase_measures import LEVEL, Measure, measures, share_difference
from demur.analysis.comparison.phases import Difference, tested
from demur.analysis.quantity import Table
from demur.metrics.quantiles import FEWEST


class ClassShare(Table):
    """Right answers of one class in one phase: shares of the first and the later run, and how they differ.

    The interval and `p_value` hold for all classes, phases and runs at once; classes of fewer than six images are not
    tested, and have a null `difference`.
    """

    n: int
    first: float
    second: float
    difference: Difference | None


class ClassChange(Table):
    """One class; `attacked` is null where no attack is in both plans, or none of its images was attacked."""

    name: str
    clean: ClassShare
    attacked: ClassShare | None


class ClassChanges(Table):
    """Every class of a later run against the first, and the phase that `attacked` is of."""

    second: str
    attacked_title: str | None
    classes: tuple[ClassChange, ...]


def class_changes(runs: Runs, classes: tuple[str, ...]) -> tuple[ClassChanges, ...]:
    """The classes of every run but the first."""
    first, *later = runs
    parted = {second: _parts(runs, second) for second in later}
    several = sum(_large(rows) for found in parted.values() for _, rows in found)
    return tuple(_changes(found, classes, first, second, max(1, several)) for second, found in parted.items())


Part = tuple[Measure, pl.DataFrame]


def _parts(runs: Runs, second: str) -> list[Part]:
    """The clean images, and those of the smallest worst case or else of the first attack."""
    first = next(iter(runs))
    found = list(measures({letter: runs[letter] for letter in (first, second)}))
    attacks = [each for kind in ("worst case", "attack") for each in found if each.facts["kind"] == kind]
    clean = [each for each in found if each.facts["kind"] == "clean"]
    return [(each, each.table()) for each in (*clean, *attacks[:1])]


def _large(rows: pl.DataFrame) -> int:
    return int((rows["label"].value_counts()["count"] >= FEWEST).sum())


def _changes(parts: list[Part], classes: tuple[str, ...], first: str, second: str, several: int) -> ClassChanges:
    columns = [{k: _share(own, first, second, several) for (k,), own in rows.group_by("label")} for _, rows in parts]
    clean, attacked = columns[0], columns[1] if len(columns) > 1 else {}
    return ClassChanges(
        second=second,
        attacked_title=parts[1][0].facts["title"] if len(parts) > 1 else None,
        classes=tuple(
            ClassChange(name=name, clean=clean[k], attacked=attacked.get(k))
            for k, name in enumerate(classes)
            if k in clean
        ),
    )


def _share(rows: pl.DataFrame, first: str, second: str, several: int) -> ClassShare:
    one, other = (float(np.mean(rows[letter].to_numpy())) for letter in (first, second))
    made = None
    if len(rows) >= FEWEST:
        found, p_value = share_difference(rows, first, second, float(ndtri(1 - LEVEL / (2 * several))))
        made = tested(second, found, p_value * several, 1)
    return ClassShare(n=len(rows), first=one, second=other, difference=made)
