"""Curves over the size of a change: attacks against rays, the label's probability along a ray."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from demur.analysis.quantity import Number, Quantity, Table
from demur.analysis.robustness.censored_quantiles import ROUNDING, CensoredQuantile, censored_quantile, ecdf, finite
from demur.analysis.robustness.least_distances import attack_searches, minimal_perturbation
from demur.analysis.row_means import mean_over
from demur.analysis.run_folder import Run, share
from demur.metrics.quantiles import median, weighted_quantile
from demur.records import groups

Entry = Mapping[str, Any]
"""What run.json says of one condition."""


def section_searches(run: Run) -> Iterator[Entry]:
    """Those of the plan's section on it; what is confined to a region is none of them."""
    return (entry for entry in run.conditions("epsilon") if entry["region"] is None)


def is_direction(entry: Entry) -> bool:
    """Whether a search follows one direction: then it has a cap, and a scan of some resolution."""
    return entry["resolution"] is not None


def minimal_changes(run: Run, entry: Entry, name: str) -> pl.DataFrame:
    """The minimal perturbation of each image by sample id, as a column of some name; null where none was searched."""
    rows = run.rows(entry["name"])
    return pl.DataFrame({"sample_id": rows["sample_id"], name: pl.Series(minimal_perturbation(rows)).fill_nan(None)})


class Confidence(Table):
    """The probability of the label along the direction: its mean with interval, and the middle half of the images."""

    eps: float
    mean: Quantity
    lower: Number
    upper: Number
    accuracy: Quantity


class AttackComparison(Table):
    """A search by a stronger attack on the same images; `ratio` is the median of direction ÷ attack, image by image.

    `share_not_larger` is the share of images on which the attack's change is no larger than the direction's.
    `ecdf` is as that of `MinimalPerturbation`.
    """

    condition: str
    sentence: str
    n: int
    median: CensoredQuantile
    ratio: Quantity
    share_not_larger: Quantity
    ecdf: tuple[tuple[float, float], ...] = ()


def attack_comparisons(run: Run, direction: Entry) -> tuple[AttackComparison, ...]:
    """Every other search for the minimal perturbation in the norm of a direction that shares images with it."""
    attacks = (*attack_searches(run), *(entry for entry in section_searches(run) if not is_direction(entry)))
    found = (_attack_comparison(run, direction, entry) for entry in attacks if entry["norm"] == direction["norm"])
    return tuple(each for each in found if each is not None)


def _attack_comparison(run: Run, direction: Entry, entry: Entry) -> AttackComparison | None:
    """The ratio is 0 where the attack alone found nothing, infinite where the direction did; none where both."""
    shared = run.rows(direction["name"]).select("sample_id", "group")
    for name, each in (("along", direction), ("attack", entry)):
        shared = shared.join(minimal_changes(run, each, name), on="sample_id", maintain_order="left")
    if shared.is_empty():
        return None
    along, attack = (shared[name].to_numpy() for name in ("along", "attack"))
    right = (along > 0) & (attack > 0)
    known = right & (np.isfinite(along) | np.isfinite(attack))
    return AttackComparison(
        condition=entry["name"],
        sentence=entry["sentence"],
        n=len(shared),
        median=censored_quantile(attack, groups(shared)),
        ratio=finite(
            median(along[known] / attack[known], groups(shared.filter(known))),
            "too many images were flipped by the attack alone",
        ),
        share_not_larger=share(attack[right] <= along[right] + ROUNDING, shared.filter(right)),
        ecdf=ecdf(attack),
    )


def confidence_curve(run: Run, condition: str) -> tuple[Confidence, ...]:
    """One row per size at which the images of a search were followed; none where they were not."""
    known = (found for found in run.optional_facts("curves") or () if found["condition"] == condition)
    return next((_points(run, found) for found in known), ())


def _points(run: Run, found: Mapping[str, Any]) -> tuple[Confidence, ...]:
    ids = pl.DataFrame({"sample_id": found["sample_ids"]}, schema={"sample_id": pl.String})
    rows = ids.join(run.rows(found["condition"]), on="sample_id", how="left", maintain_order="left")
    if rows.is_empty():
        return ()
    confidence, right = np.array(found["confidence"], np.float64), np.array(found["standing"], bool)
    return tuple(
        Confidence(
            eps=eps,
            mean=mean_over(confidence[:, at], rows),
            lower=weighted_quantile(confidence[:, at], 0.25),
            upper=weighted_quantile(confidence[:, at], 0.75),
            accuracy=share(right[:, at], rows),
        )
        for at, eps in enumerate(found["eps"])
    )
