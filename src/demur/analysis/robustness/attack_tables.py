"""Attacks one by one, and accuracy at every size of change from one search for the smallest."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from demur.analysis.quantity import Quantity, Table
from demur.analysis.robustness.censored_quantiles import ROUNDING
from demur.analysis.run_folder import Flags, Floats, Run, share
from demur.metrics.estimate import Estimate
from demur.metrics.quantiles import median
from demur.records import PASSES, groups, wrong


class AttackRow(Table):
    """One attack. `robust_accuracy` is over all attacked images, `success` over those the model had right.

    `target` names the class or rule of a targeted attack; its `target_success` is the share, of the images not of that
    class, which end there, null for others; its `success` counts, among them, those the model had right and got wrong.
    `median_distance` is of the images that the attack made wrong; where it keeps minimal perturbations, of all, 0 where
    the answer was wrong already. `faults` counts images with a zero or non-finite gradient, or that left their ball,
    crashed, or could not be confirmed.
    """

    condition: str
    sentence: str
    norm: str
    eps: float | None
    target: str | None
    n: int
    robust_accuracy: Quantity
    success: Quantity
    target_success: Quantity | None
    median_distance: Quantity
    faults: int
    forwards: int
    backwards: int


class SizePoint(Table):
    """Robust accuracy at one size of change: the share of all images that no change of at most `eps` fooled."""

    eps: float
    robust_accuracy: Quantity


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
    """The minimal perturbation of every image, hence accuracy at every size.

    `eps` is the size an ensemble was strongest at, null for a bare search. `censored` images were not fooled at all. An
    ensemble without a search has no `curve` and no median.
    """

    condition: str
    sentence: str
    norm: str
    eps: float | None
    n: int
    accuracy: Quantity
    robust_accuracy: Quantity | None
    median_distance: Quantity
    censored: int
    curve: tuple[SizePoint, ...]
    per_class: tuple[ClassRobustness, ...]
    stages: tuple[StageRow, ...]


_POINTS = 40


def attack_rows(run: Run) -> tuple[AttackRow, ...]:
    """Every attack of the plan."""
    return tuple(_attack(run, entry) for entry in run.conditions("attack"))


def robustness(run: Run) -> tuple[Robustness, ...]:
    """Every ensemble, then every other search for the minimal perturbation that was not confined to a target."""
    nearest = [entry for entry in run.conditions("attack", "nearest") if entry.get("target") is None]
    found = [entry for entry in nearest if is_unlimited(entry) or stage_names(run.rows(entry["name"]))]
    return tuple(_robustness(run, entry) for entry in sorted(found, key=lambda entry: not entry["severity"]))


def is_unlimited(entry: Mapping[str, Any]) -> bool:
    """Whether an attack searches for the minimal perturbation of each image, however large it may be."""
    return bool(entry["unlimited"])


def display_name(name: str) -> str:
    """An attack as papers write it.

    >>> display_name("apgd_t")
    'APGD-T'
    """
    return name.upper().replace("_", "-")


def minimal_perturbation(rows: pl.DataFrame) -> Floats:
    """The minimal perturbation found of each image: 0 where it was wrong already, infinite where nothing flipped it."""
    distance = rows.select(pl.when("epsilon.censored").then(np.inf).otherwise(pl.col("epsilon.minimal")))
    return np.asarray(distance.to_series().to_numpy(), np.float64)


def median_perturbation(distances: Floats, unit: np.ndarray[Any, Any] | None) -> Estimate:
    """The median of changes, undefined where most images were never fooled."""
    if not len(distances):
        return Estimate.undefined("no images")
    found = median(distances, unit)
    if np.isinf(found.value):
        return Estimate.undefined("most images were never flipped", n=found.n, unit=found.unit)
    if np.isinf(found.high):
        return replace(found, high=np.nan, reason="no upper end: too many images were never flipped")
    return found


def _attack(run: Run, entry: Mapping[str, Any]) -> AttackRow:
    rows = run.rows(entry["name"])
    right, fooled = _attackable(run, rows), is_fooled(rows, entry)
    return AttackRow(
        condition=entry["name"],
        sentence=entry["sentence"],
        norm=entry["norm"],
        eps=entry["severity"] or None,
        target=entry.get("target"),
        n=len(rows),
        robust_accuracy=share(~fooled, rows),
        success=share(fooled[right], rows.filter(right)),
        target_success=_target_success(rows) if entry.get("target") else None,
        median_distance=Quantity.of(_change(rows, right, entry)),
        faults=int((rows["flags"] > 0).sum()),
        forwards=int(rows["forwards"].sum()),
        backwards=int(rows["backwards"].sum()),
    )


def _attackable(run: Run, rows: pl.DataFrame) -> Flags:
    """Rows that the model had right, but those a targeted attack left alone.

    This is read off the clean rows: a targeted attack goes on where the answer is wrong already, and a random start may
    fool the model before the first step.
    """
    clean = run.rows("clean").select("sample_id", before=pl.col("predicted") == pl.col("label"))
    right = rows.join(clean, on="sample_id", how="left", maintain_order="left")["before"]
    return (right & rows["target"].is_not_null()).to_numpy() if "target" in rows.columns else right.to_numpy()


def is_fooled(rows: pl.DataFrame, entry: Mapping[str, Any]) -> Flags:
    """Which rows an attack leaves wrong; of an ensemble, by a change of no more than its size."""
    fooled = wrong(rows)
    if is_sized(entry):
        fooled = fooled & (minimal_perturbation(rows) <= _edge(entry["severity"]))
    return fooled


def is_sized(entry: Mapping[str, Any]) -> bool:
    """Whether an attack keeps minimal perturbations, of whatever size, and is judged at one size."""
    return entry.get("keep") == "nearest" and entry["severity"] > 0


def _target_success(rows: pl.DataFrame) -> Quantity:
    aimed = rows.filter(pl.col("target").is_not_null())
    return share((aimed["predicted"] == aimed["target"]).to_numpy(), aimed)


def _change(rows: pl.DataFrame, right: Flags, entry: Mapping[str, Any]) -> Estimate:
    """The median change: of all attacked images where the smallest is kept, else of those it made wrong."""
    if entry["norm"] == "none":
        return Estimate.undefined("such changes have no size")
    if entry["keep"] == "nearest":
        aimed = rows.filter(pl.col("target").is_not_null()) if "target" in rows.columns else rows
        return median_perturbation(minimal_perturbation(aimed), groups(aimed))
    fooled = rows.filter(wrong(rows) & right)
    if fooled.is_empty():
        return Estimate.undefined("no image was fooled")
    return median_perturbation(fooled[f"distance.{entry['norm']}"].to_numpy().astype(np.float64), groups(fooled))


def _robustness(run: Run, entry: Mapping[str, Any]) -> Robustness:
    rows = run.rows(entry["name"])
    distances, eps = minimal_perturbation(rows), entry["severity"] or None
    searched = is_unlimited(entry)
    sizes = _sizes(distances, eps) if searched else []
    return Robustness(
        condition=entry["name"],
        sentence=entry["sentence"],
        norm=entry["norm"],
        eps=eps,
        n=len(rows),
        accuracy=share(distances > 0, rows),
        robust_accuracy=None if eps is None else _standing(distances, eps, rows),
        median_distance=_middle(distances, rows, searched=searched),
        censored=int(np.isinf(distances).sum()),
        curve=tuple(SizePoint(eps=size, robust_accuracy=_standing(distances, size, rows)) for size in sizes),
        per_class=tuple(_class(rows, distances, k, name, entry) for k, name in enumerate(run.classes)),
        stages=_stages(rows),
    )


def _class(rows: pl.DataFrame, distances: Floats, k: int, name: str, entry: Mapping[str, Any]) -> ClassRobustness:
    own, eps = (rows["label"] == k).to_numpy(), entry["severity"] or None
    of_class, found = rows.filter(own), distances[own]
    return ClassRobustness(
        name=name,
        n=len(of_class),
        accuracy=share(found > 0, of_class),
        robust_accuracy=None if eps is None else _standing(found, eps, of_class),
        median_distance=_middle(found, of_class, searched=is_unlimited(entry)),
    )


def _middle(distances: Floats, rows: pl.DataFrame, *, searched: bool) -> Quantity:
    none = Estimate.undefined("minimal perturbations were not searched for")
    return Quantity.of(median_perturbation(distances, groups(rows)) if searched else none)


def _standing(distances: Floats, eps: float, rows: pl.DataFrame) -> Quantity:
    return share(distances > (_edge(eps) if eps else 0.0), rows)


def _edge(eps: float) -> float:
    """The largest change that counts as no larger than `eps`, in the single precision of the records."""
    return eps + ROUNDING * max(1.0, eps)


def _sizes(distances: Floats, eps: float | None) -> list[float]:
    """Sizes from none to where nearly nothing stands, the reported one among them."""
    flipped = distances[np.isfinite(distances)]
    largest = max(float(np.quantile(flipped, 0.99)) if len(flipped) else 0.0, 2 * (eps or 0.0))
    sizes = {float(f"{size:.6g}") for size in np.linspace(0, largest, _POINTS)}
    return sorted(sizes | ({eps} if eps else set()))


def stage_names(rows: pl.DataFrame) -> list[str]:
    """The stages of an ensemble in their order; none of a single attack."""
    return [name.removeprefix(PASSES) for name in rows.columns if name.startswith(PASSES)]


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
