"""The least change that fooled the model, image by image, whichever attack found it."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from demur.analysis.robustness.censored_quantiles import ROUNDING
from demur.analysis.run_folder import Floats, Run
from demur.records import SEARCH, wrong

_ID = "sample_id"


def edge(eps: float) -> float:
    """The largest change that counts as no larger than `eps`, in the single precision of the records."""
    return eps + ROUNDING * max(1.0, eps)


def minimal_perturbation(rows: pl.DataFrame) -> Floats:
    """The minimal perturbation found of each image: 0 where it was wrong already, infinite where nothing flipped it."""
    distance = rows.select(pl.when("epsilon.censored").then(np.inf).otherwise(pl.col("epsilon.minimal")))
    return np.asarray(distance.to_series().to_numpy(), np.float64)


def is_unlimited(entry: Mapping[str, Any]) -> bool:
    """Whether an attack searches for the minimal perturbation of each image, however large it may be."""
    return bool(entry["unlimited"])


def least_distances(run: Run, norm: str, rows: pl.DataFrame, among: Collection[str] | None = None) -> Floats:
    """Of each image of some rows, the length in a norm of the least change that fooled the model.

    It is 0 where the answer was wrong already, infinite where nothing fooled it. A point that fools counts by its
    measured distance whatever found it: a search for the minimal perturbation, an attack of a fixed size in this norm
    or another, towards a class or away from one, a straight line. So the share of images whose distance exceeds a size
    is no larger than the accuracy under any attack of at most this size.

    Args:
        run: where the records are.
        norm: `linf`, `l2` or `l1`.
        rows: whose images, in whose order.
        among: names of the conditions that count; all attacks and searches unless given.
    """
    entries = (*run.conditions("attack"), *run.conditions("epsilon"))
    counted = [entry for entry in entries if among is None or entry["name"] in among]
    return _least(run, rows, ((run.drawn(entry["name"]), _bounds(run, entry, norm)) for entry in counted))


def search_distances(run: Run, norm: str, rows: pl.DataFrame) -> Floats:
    """The same by the searches for minimal perturbations alone, without the attacks of a fixed size beside them."""
    entries = (entry for entry in attack_searches(run) if entry["norm"] == norm)
    return _least(run, rows, ((found := run.drawn(entry["name"]), _search(found)) for entry in entries))


def attack_searches(run: Run) -> Iterator[Mapping[str, Any]]:
    """The searches for minimal perturbations among the attacks; what is confined to a size or a target is none."""
    return (
        entry for entry in run.conditions("attack", "nearest") if is_unlimited(entry) and entry.get("target") is None
    )


def _least(run: Run, rows: pl.DataFrame, found: Iterator[tuple[pl.DataFrame, Floats]]) -> Floats:
    """The smallest of several distances of the same images."""
    clean = run.every_clean
    tables = [(clean, np.where(wrong(clean), 0.0, np.inf)), *found]
    ids = rows.select(_ID)
    least = np.full(len(rows), np.inf)
    for table, distances in tables:
        known = pl.DataFrame({_ID: table[_ID], "distance": distances}, schema_overrides={"distance": pl.Float64})
        joined = ids.join(known, on=_ID, how="left", maintain_order="left")["distance"].fill_null(np.inf)
        least = np.fmin(least, joined.to_numpy())
    return least


def _bounds(run: Run, entry: Mapping[str, Any], norm: str) -> Floats:
    """What one attack shows: the distance of the points that fool, which in a ball of its own norm is at most its size.

    A point at the edge may be measured beyond it by the rounding that the ball allows.
    """
    rows = run.drawn(entry["name"])
    column = f"distance.{norm}"
    if column not in rows.columns:
        return np.full(len(rows), np.inf)
    distance = rows[column].cast(pl.Float64).fill_null(np.inf).to_numpy()
    bounds = np.where(wrong(rows), distance, np.inf)
    if entry["norm"] != norm:
        return bounds
    if entry.get("keep", "nearest") == "nearest":
        return np.fmin(bounds, minimal_perturbation(rows)) if entry.get("target") is None else bounds
    return np.where(np.isfinite(bounds), np.fmin(bounds, entry["severity"]), np.inf) if entry["severity"] else bounds


def _search(rows: pl.DataFrame) -> Floats:
    """What the search of an ensemble found is kept beside the nearest point of all its attacks."""
    if SEARCH not in rows.columns:
        return minimal_perturbation(rows)
    return rows[SEARCH].cast(pl.Float64).fill_null(np.inf).to_numpy()
