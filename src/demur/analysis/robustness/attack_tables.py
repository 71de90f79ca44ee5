"""Attacks one by one, each by what it found itself."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from demur.analysis.quantity import Quantity, Table
from demur.analysis.robustness.least_distances import edge, minimal_perturbation
from demur.analysis.row_design import design_of
from demur.analysis.run_folder import Flags, Floats, Run, share
from demur.metrics.estimate import Estimate
from demur.metrics.quantiles import median
from demur.metrics.stratified import Design, design_median
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


def attack_rows(run: Run) -> tuple[AttackRow, ...]:
    """Every attack of the plan."""
    return tuple(_attack(run, entry) for entry in run.conditions("attack"))


def display_name(name: str) -> str:
    """An attack as papers write it.

    >>> display_name("apgd_t")
    'APGD-T'
    """
    return name.upper().replace("_", "-")


def median_perturbation(distances: Floats, unit: np.ndarray[Any, Any] | None, design: Design | None = None) -> Estimate:
    """The median of changes, undefined where most images were never fooled.

    `design` says how the images were drawn, None where all stand for equally many.
    """
    if not len(distances):
        return Estimate.undefined("no images")
    found = median(distances, unit) if design is None else design_median(distances, design, unit)
    if np.isinf(found.value):
        return Estimate.undefined("most images were never flipped", n=found.n, unit=found.unit)
    if np.isinf(found.high):
        return replace(found, high=np.nan, reason="no upper end: too many images were never flipped")
    return found


def _attack(run: Run, entry: Mapping[str, Any]) -> AttackRow:
    rows = run.drawn(entry["name"])
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
    clean = run.every_clean.select("sample_id", before=pl.col("predicted") == pl.col("label"))
    right = rows.join(clean, on="sample_id", how="left", maintain_order="left")["before"]
    return (right & rows["target"].is_not_null()).to_numpy() if "target" in rows.columns else right.to_numpy()


def is_fooled(rows: pl.DataFrame, entry: Mapping[str, Any]) -> Flags:
    """Which rows an attack leaves wrong; of an ensemble, by a change of no more than its size."""
    fooled = wrong(rows)
    if is_sized(entry):
        fooled = fooled & (minimal_perturbation(rows) <= edge(entry["severity"]))
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
        return median_perturbation(minimal_perturbation(aimed), groups(aimed), design_of(aimed))
    fooled = rows.filter(wrong(rows) & right)
    if fooled.is_empty():
        return Estimate.undefined("no image was fooled")
    distances = fooled[f"distance.{entry['norm']}"].to_numpy().astype(np.float64)
    return median_perturbation(distances, groups(fooled), design_of(fooled))


def stage_names(rows: pl.DataFrame) -> list[str]:
    """The stages of an ensemble in their order; none of a single attack."""
    return [name.removeprefix(PASSES) for name in rows.columns if name.startswith(PASSES)]
