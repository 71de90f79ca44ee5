"""What the parts of a signal rank by themselves: layers, squeezers, mutants."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from demur.analysis.quantity import Quantity, Table
from demur.analysis.run_folder import Floats, Run, score
from demur.analysis.signals.ranking_targets import Target, TargetName, targets
from demur.metrics.delong import auroc_interval
from demur.records import PART


class PartRow(Table):
    """How well one part of a signal finds a target by itself: a layer, a squeezer, or the first so many mutants."""

    signal: str
    component_kind: str
    target: TargetName
    part: str
    auroc: Quantity


class Roc(Table):
    """Hits against false alarms of a part, or of the whole score, at every threshold; at most 60 points."""

    signal: str
    target: TargetName
    part: str
    points: tuple[tuple[float, float], ...]


_POINTS = 60
_COUNTS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 100, 150, 200, 300, 500, 1000)
_TALLIES = ("changes", "mutants")
WHOLE = "all together"

RANKED = ("layers", "mutants", "squeezers")
"""What parts are that are ranked one by one; those of maps say other things, each in its own unit."""


def part_rows(run: Run) -> tuple[PartRow, ...]:
    """Each part of each signal that has any against every target, on the rows the signal itself is scored on."""
    parted = [entry for entry in run.facts["signals"] if entry.get("made_of") in RANKED]
    return tuple(row for target in _targets(run, parted) for entry in parted for row in _rows(target, entry))


def _targets(run: Run, parted: Sequence[Mapping[str, Any]]) -> Iterator[Target]:
    return targets(run) if parted else iter(())


def _rows(target: Target, entry: Mapping[str, Any]) -> Iterator[PartRow]:
    part = target.held_back if "bank" in entry else target
    for name, uncertainty in _parts(part.rows, entry).items():
        yield PartRow(
            signal=entry["name"],
            component_kind=entry["made_of"],
            target=target.name,
            part=name,
            auroc=part.quantity(auroc_interval(uncertainty, part.positive, part.units, part.weights)),
        )


def _parts(rows: pl.DataFrame, entry: Mapping[str, Any]) -> dict[str, Floats]:
    """The numbers of each part; of mutants the share that the first so many of them change."""
    prefix = f"{PART}{entry['name']}."
    own = {column.removeprefix(prefix): column for column in rows.columns if column.startswith(prefix)}
    if entry["made_of"] != "mutants":
        return {name: np.asarray(rows[column].to_numpy(), np.float64) for name, column in own.items()}
    each = [column for name, column in own.items() if name not in _TALLIES]
    if not each:
        return {}
    changed = np.cumsum(rows.select(each).to_numpy(), axis=1, dtype=np.float64)
    counts = sorted({*(count for count in _COUNTS if count < len(each)), len(each)})
    return {str(count): changed[:, count - 1] / count for count in counts}


def rocs(run: Run) -> tuple[Roc, ...]:
    """Hits against false alarms of every squeezer and of their largest change, for attacks and errors."""
    parted = [entry for entry in run.facts["signals"] if entry.get("made_of") == "squeezers"]
    return tuple(
        Roc(signal=entry["name"], target=target.name, part=name, points=_points(uncertainty, target))
        for target in (each.alike for each in _targets(run, parted))
        if target.positive.any() and not target.positive.all()
        for entry in parted
        for name, uncertainty in _lines(target.rows, entry)
    )


def _lines(rows: pl.DataFrame, entry: Mapping[str, Any]) -> list[tuple[str, Floats]]:
    parts = list(_parts(rows, entry).items())
    return [*parts, (WHOLE, score(rows, entry["name"]))] if parts else []


def _points(uncertainty: Floats, target: Target) -> tuple[tuple[float, float], ...]:
    """From no row flagged to all; rows of equal uncertainty go together."""
    order = np.argsort(-uncertainty, kind="stable")
    flags, ends = target.positive[order], np.flatnonzero(np.append(np.diff(uncertainty[order]) != 0, [True]))
    hits, alarms = (np.append(0, np.cumsum(kind)[ends] / kind.sum()) for kind in (flags, ~flags))
    chosen = np.unique([0, *(np.searchsorted(alarms, np.linspace(0, 1, _POINTS), side="right") - 1)])
    return tuple((float(alarms[at]), float(hits[at])) for at in chosen)
