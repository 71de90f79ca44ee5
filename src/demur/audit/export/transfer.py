"""How far points carry: each model is asked about the points found on every other."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from demur.audit.conditions import Condition
from demur.audit.engine import Bench
from demur.audit.export.arrays import read_arrays
from demur.audit.export.figures import Facts, share
from demur.audit.export.points import Flags, Points, answered_right, ask

Files = Sequence[tuple[Path, Path]]
"""Arrays and table of each source, in the order of the models."""


def matrix(condition: Condition, benches: Sequence[Bench], files: Files, tell: Callable[[], None]) -> Facts:
    """Rows are the models that were attacked, columns those that were asked.

    `robust_accuracy` is of all images, `success` of those the asked model had right; `carried` is the share of the
    points that fooled the attacked model, on images both had right, that fool the asked one. The diagonal of the first
    two is each model's own.
    """
    tables = [pl.read_parquet(table) for _, table in files]
    right = [answered_right(table) for table in tables]
    cells: dict[str, list[list[Facts]]] = {name: [] for name in ("robust_accuracy", "success", "carried")}
    for source, (arrays, _) in enumerate(files):
        points = Points(read_arrays(arrays)["images"], tables[source])
        line: list[Mapping[str, Facts]] = []
        for target, bench in enumerate(benches):
            wrong = points.fooled if source == target else _wrong(condition, points, bench, right[target])
            line.append(_cell(points, wrong, right[target]))
            tell()
        for name, rows in cells.items():
            rows.append([cell[name] for cell in line])
    return {"attack": condition.name, **cells}


def _cell(points: Points, wrong: Flags, right: Flags) -> Mapping[str, Facts]:
    """One source and one target, which answers the points wrong and had the clean images right."""
    rows, both = points.table, points.successful & right
    return {
        "robust_accuracy": share(~wrong, rows),
        "success": share(wrong[right], rows.filter(right)),
        "carried": share(wrong[both], rows.filter(both)),
    }


def _wrong(condition: Condition, points: Points, bench: Bench, right: Flags) -> Flags:
    """Which rows the asked model gets wrong; a point larger than the attack's eps is not shown, its clean image is."""
    answers = ask(bench.classifier, points.images, bench.plan.batch).argmax(dim=1).numpy()
    return np.where(points.within(condition), answers != points.table["label"].to_numpy(), ~right)
