"""Accuracy at every size of change: the share of images that nothing of at most that size fooled, whatever was run."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from demur.analysis.quantity import Quantity, Table
from demur.analysis.robustness.attack_tables import median_perturbation, stage_names
from demur.analysis.robustness.least_distances import attack_searches, edge, is_unlimited, least_distances
from demur.analysis.row_design import design_of
from demur.analysis.run_folder import Floats, Run, share
from demur.metrics.estimate import Estimate
from demur.records import PASSES, groups


class SizePoint(Table):
    """Robust accuracy at one size of change: the share of all images that no change of at most `eps` fooled.

    `ensemble`: an ensemble of attacks was run at this very size. At others the share rests on the search for minimal
    perturbations and on attacks of smaller sizes; it may be too high.
    """

    eps: float
    robust_accuracy: Quantity
    ensemble: bool


class ClassRobustness(Table):
    """One class: accuracy before the attack, robust accuracy at the reported size, median minimal perturbation."""

    name: str
    n: int
    accuracy: Quantity
    robust_accuracy: Quantity | None
    median_distance: Quantity


class StageRow(Table):
    """One stage of an ensemble: the images it was run on, those it broke first, and the passes it took."""

    name: str
    n: int
    successes: int
    passes: int


class Robustness(Table):
    """What stands in one norm, by the least change of every image that any attack of the plan found.

    `condition` is an ensemble, strongest at `eps`, or a bare search, whose `eps` is null; `unlimited` says whether it
    searches for minimal perturbations itself. `censored` images were not fooled at all. Where nothing in this norm
    searches for minimal perturbations there is no `curve` and no median.
    """

    condition: str
    sentence: str
    norm: str
    eps: float | None
    unlimited: bool
    n: int
    accuracy: Quantity
    robust_accuracy: Quantity | None
    median_distance: Quantity
    censored: int
    curve: tuple[SizePoint, ...]
    per_class: tuple[ClassRobustness, ...]
    stages: tuple[StageRow, ...]
    classes_left_out: int = 0


_POINTS = 40


def robustness(run: Run) -> tuple[Robustness, ...]:
    """Every ensemble, then, for each norm that has none, the first search for minimal perturbations.

    Other searches have their row among the attacks; what they found counts in the tables of their norm.
    """
    staged = [entry for entry in run.conditions("attack", "nearest") if stage_names(run.rows(entry["name"]))]
    bare = {entry["norm"]: entry for entry in reversed([*attack_searches(run)])}
    alone = [entry for entry in bare.values() if entry["norm"] not in {each["norm"] for each in staged}]
    return tuple(_robustness(run, entry) for entry in (*staged, *reversed(alone)))


def _robustness(run: Run, entry: Mapping[str, Any]) -> Robustness:
    rows, eps, norm = run.drawn(entry["name"]), entry["severity"] or None, entry["norm"]
    distances = least_distances(run, norm, rows)
    complete = any(search["norm"] == norm for search in attack_searches(run))
    return Robustness(
        condition=entry["name"],
        sentence=entry["sentence"],
        norm=norm,
        eps=eps,
        unlimited=is_unlimited(entry),
        n=len(rows),
        accuracy=share(distances > 0, rows),
        robust_accuracy=None if eps is None else _standing(distances, eps, rows),
        median_distance=_middle(distances, rows, complete=complete),
        censored=int(np.isinf(distances).sum()),
        curve=_curve(run, entry, distances) if complete else (),
        per_class=tuple(
            _class(rows, distances, (k, name), eps, complete=complete) for k, name in enumerate(run.classes)
        ),
        stages=_stages(rows),
    )


def _curve(run: Run, entry: Mapping[str, Any], distances: Floats) -> tuple[SizePoint, ...]:
    """Sizes from none to where nearly nothing stands, those at which attacks were run among them."""
    rows = run.drawn(entry["name"])
    of_norm = [each for each in run.conditions("attack") if each["norm"] == entry["norm"] and each["severity"]]
    sized = {each["severity"]: False for each in of_norm}
    sized |= {each["severity"]: True for each in of_norm if each["attack"]["stages"]}
    sizes = sorted({*_sizes(distances, entry["severity"]), *sized})
    return tuple(
        SizePoint(eps=size, robust_accuracy=_standing(distances, size, rows), ensemble=sized.get(size, False))
        for size in sizes
    )


def _class(
    rows: pl.DataFrame, distances: Floats, class_: tuple[int, str], eps: float | None, *, complete: bool
) -> ClassRobustness:
    own = (rows["label"] == class_[0]).to_numpy()
    of_class, found = rows.filter(own), distances[own]
    return ClassRobustness(
        name=class_[1],
        n=len(of_class),
        accuracy=share(found > 0, of_class),
        robust_accuracy=None if eps is None else _standing(found, eps, of_class),
        median_distance=_middle(found, of_class, complete=complete),
    )


def _middle(distances: Floats, rows: pl.DataFrame, *, complete: bool) -> Quantity:
    none = Estimate.undefined("minimal perturbations were not searched for")
    return Quantity.of(median_perturbation(distances, groups(rows), design_of(rows)) if complete else none)


def _standing(distances: Floats, eps: float, rows: pl.DataFrame) -> Quantity:
    return share(distances > (edge(eps) if eps else 0.0), rows)


def _sizes(distances: Floats, eps: float) -> set[float]:
    """Sizes from none to where nearly nothing of what was flipped stands, or to the size searched if that is larger.

    Beyond the largest size that an attack had, only the search for minimal perturbations speaks, of what it flipped.
    """
    flipped = distances[np.isfinite(distances)]
    largest = max(float(np.quantile(flipped, 0.99)) if len(flipped) else 0.0, eps)
    return {float(f"{size:.6g}") for size in np.linspace(0, largest, _POINTS)}


def _stages(rows: pl.DataFrame) -> tuple[StageRow, ...]:
    return tuple(
        StageRow(
            name=name,
            n=rows[f"{PASSES}{name}"].count(),
            successes=int((rows["stage"] == name).sum()),
            passes=int(rows[f"{PASSES}{name}"].sum()),
        )
        for name in stage_names(rows)
    )
