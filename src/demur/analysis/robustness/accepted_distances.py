"""How far one must go until a wrong answer is given: of each image, the nearest such point of any attack."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from demur.analysis.robustness.guarded_rows import NORM, guarded_rows
from demur.analysis.robustness.least_distances import edge, least_distances
from demur.analysis.row_means import values
from demur.analysis.run_folder import Flags, Floats, Run
from demur.records import wrong


def accepted_wrong_found(run: Run, rows: pl.DataFrame, eps: float, *, norm: str = NORM, aimed: bool = True) -> Flags:
    """Images of which some attack of at most the size, or none, got a wrong answer past the guard.

    Whatever found it counts: attacks of the plan, which do not know the guard, and those that were aimed at it.

    Args:
        run: one with a certified guard.
        rows: whose images, in whose order.
        eps: the size, a fraction of the [0, 1] pixel range.
        norm: what it is measured in; attacks that were aimed at the guard have points in L∞ alone.
        aimed: whether attacks that were aimed at the guard count.
    """
    return accepted_wrong_distances(run, rows, norm=norm, aimed=aimed) <= edge(eps)


def wrong_distances(run: Run, rows: pl.DataFrame) -> Floats:
    """Of each image of some rows, the length in L∞ of the least change found that makes the model wrong.

    By any attack, search or attacker of a guard; it is 0 where the answer was wrong already, infinite where nothing
    fooled it.
    """
    ids, least = rows.select("sample_id"), least_distances(run, NORM, rows)
    for points in (points for each in guarded_rows(run) for points in each.attackers.values()):
        lengths = np.where(wrong(points), values(points, f"distance.{NORM}"), np.inf)
        least = np.fmin(least, _of_images(ids, points, lengths))
    return least


def accepted_wrong_distances(run: Run, rows: pl.DataFrame, *, norm: str = NORM, aimed: bool = True) -> Floats:
    """Of each image of some rows, the length in a norm of the least change at which a wrong answer was given.

    It is 0 where that is so of the image as it is, infinite where no point was found.
    """
    assert run.guard is not None
    ids, least = rows.select("sample_id"), np.full(len(rows), np.inf)
    for table, lengths in _points(run, norm, aimed=aimed):
        passed = run.accepts(run.guard, table) & wrong(table)
        least = np.fmin(least, _of_images(ids, table, np.where(passed, lengths, np.inf)))
    return least


def _of_images(ids: pl.DataFrame, table: pl.DataFrame, lengths: Floats) -> Floats:
    """The lengths of a table in the order of some images; infinite for those that it has not."""
    known = pl.DataFrame({"sample_id": table["sample_id"], "distance": lengths})
    joined = ids.join(known, on="sample_id", how="left", maintain_order="left")["distance"]
    return joined.fill_null(np.inf).to_numpy()


def _points(run: Run, norm: str, *, aimed: bool) -> Iterator[tuple[pl.DataFrame, Floats]]:
    """All points that were scored, and their distances: the images as they are, those of attacks and of attackers."""
    clean = run.rows("clean")
    yield clean, np.zeros(len(clean))
    tables = [run.rows(entry["name"]) for entry in run.conditions("attack")]
    if aimed:
        tables += [points for each in guarded_rows(run) for points in each.attackers.values()]
    for table in tables:
        yield table, values(table, f"distance.{norm}")
