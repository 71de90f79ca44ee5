"""How fast the answer can change, as an audit measured it, beside the minimal perturbations found."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from demur.analysis.quantity import Number, Quantity, Table
from demur.analysis.robustness.least_distances import attack_searches, least_distances, minimal_perturbation
from demur.analysis.run_folder import Run
from demur.metrics.quantiles import median
from demur.records import groups


class LayerNorm(Table):
    """One linear piece of the network: the layers folded into it and its operator norm in L2."""

    name: str
    layers: tuple[str, ...]
    kind: str
    norm: Number
    iterations: int
    converged: bool


class Lipschitz(Table):
    """From L2 of pixels in [0, 1] to L2 of logits.

    `upper` is the product through the network, null with the `reason` where a layer has no known constant; `lower` the
    largest Jacobian norm measured, `median` the median one. `certified_radius` is the median radius that `upper`
    proves, `minimal_perturbation` the median of the least L2 changes that any attack found, where a search covered all
    of these images; `search_name` is the one whose own median is smallest. Both are over the images that were right.
    """

    layers: tuple[LayerNorm, ...]
    upper: Number
    reason: str | None
    lower: Number
    median: Quantity
    images: int
    certified_radius: Number
    minimal_perturbation: Number
    search_name: str | None
    sentence: str


_SENTENCE = (
    "A change of the image moves the logits by at most the upper bound times its size, and near some image by at least "
    "the steepest slope. The bound multiplies the norms of all layers, though hardly any change is stretched by all."
)


def lipschitz(run: Run) -> Lipschitz | None:
    """The table of layers and bounds; None where the plan asked for none."""
    facts = run.optional_facts("lipschitz")
    if facts is None:
        return None
    upper, seen = facts["upper"], _slopes(facts)
    found, by = _median_perturbation(run, seen)
    return Lipschitz(
        layers=tuple(LayerNorm(**layer) for layer in facts["layers"]),
        upper=upper,
        reason=facts["reason"],
        lower=float(seen["lower"].to_numpy().max()) if len(seen) else math.nan,
        median=_median_slope(run, seen),
        images=len(seen),
        certified_radius=_certified_radius(seen, upper),
        minimal_perturbation=found,
        search_name=by,
        sentence=_SENTENCE,
    )


def _slopes(facts: Mapping[str, Any]) -> pl.DataFrame:
    """One row per image whose slope was measured; no margin where the answer was wrong."""
    schema = {"sample_id": pl.String, "lower": pl.Float64, "margin": pl.Float64}
    columns = dict(zip(schema, (facts["sample_ids"], facts["lower"], facts["margins"]), strict=True))
    return pl.DataFrame(columns, schema=schema).filter(pl.col("lower").is_not_null())


def _median_slope(run: Run, seen: pl.DataFrame) -> Quantity:
    rows = run.rows("clean").join(seen, on="sample_id", how="inner", maintain_order="left")
    return Quantity.of(median(rows["lower"].to_numpy(), groups(rows)))


def _certified_radius(seen: pl.DataFrame, upper: float | None) -> float:
    """The radius margin/(√2·upper), median of the images that were right; Tsuzuku et al. (2018), arXiv:1802.04034."""
    margin = seen["margin"].drop_nulls().median()
    return margin / (math.sqrt(2) * upper) if upper and isinstance(margin, float) else math.nan


def _median_perturbation(run: Run, seen: pl.DataFrame) -> tuple[float, str | None]:
    """The median of the least changes in L2, over the same images that were right, and the nearest search of all."""
    right = seen.filter(pl.col("margin").is_not_null())
    medians: dict[str, float] = {}
    for name in _searches(run):
        rows = run.rows(name).join(right, on="sample_id", how="semi")
        value = median(minimal_perturbation(rows)).value if len(rows) == len(right) else math.nan
        if np.isfinite(value):
            medians[name] = value
    if not medians:
        return math.nan, None
    by = min(medians, key=medians.__getitem__)
    rows = run.rows(by).join(right, on="sample_id", how="semi")
    return median(least_distances(run, "l2", rows)).value, by


def _searches(run: Run) -> Iterator[str]:
    """Searches in L2 that were confined to no target, size or part of the image."""
    whole = (entry for entry in run.conditions("epsilon") if entry["part"] in {None, "whole"})
    return (entry["name"] for entry in (*attack_searches(run), *whole) if entry["norm"] == "l2")
