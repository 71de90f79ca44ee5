"""What an attack achieved, in shares with intervals."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from demur.attacks.outcome import Trouble
from demur.audit.conditions import Condition
from demur.audit.export.points import MEASURED, Flags, Points
from demur.metrics import Estimate, proportion
from demur.metrics.quantile import median
from demur.records import groups

Facts = Mapping[str, Any]


def figures(points: Points, condition: Condition) -> Facts:
    """Robust accuracy over all images, success over those that were right, sizes, cost, flags."""
    rows = points.table
    aimed = rows.filter(pl.col("target").is_not_null()) if condition.target else None
    return {
        "attack": condition.name,
        "sentence": condition.sentence,
        "norm": condition.norm,
        "eps": condition.severity or None,
        "keep": condition.keep,
        "target": condition.target,
        "n": len(rows),
        "right": int(points.right.sum()),
        "successful": int(points.successful.sum()),
        "robust_accuracy": share(~points.fooled, rows),
        "success": share(points.fooled[points.right], rows.filter(points.right)),
        "reached": None if aimed is None else share((aimed["predicted"] == aimed["target"]).to_numpy(), aimed),
        "median_change": told(_median_change(points, condition)),
        "forwards": int(rows["forwards"].sum()),
        "backwards": int(rows["backwards"].sum()),
        "flags": _flags(rows),
        "crashes": dict(rows["crash"].drop_nulls().value_counts().sort("crash").iter_rows()) if "crash" in rows else {},
    }


def share(flags: Flags, rows: pl.DataFrame) -> Facts:
    """The share of rows that are flagged, with its interval, per image or per group."""
    return told(proportion(flags, groups(rows)))


def told(estimate: Estimate) -> Facts:
    """An estimate as JSON has it; what is undefined is null, with the reason."""
    ends = {name: getattr(estimate, name) for name in ("value", "low", "high")}
    return {
        **{name: value if math.isfinite(value) else None for name, value in ends.items()},
        "n": estimate.n,
        "unit": estimate.unit,
        "reason": estimate.reason,
    }


def _median_change(points: Points, condition: Condition) -> Estimate:
    """Of the images that were right; those that a search for the smallest change never flipped count as infinite."""
    if condition.norm not in MEASURED:
        return Estimate.undefined("the size of this change is not measured")
    searched = condition.keep == "nearest"
    kept = points.right if searched else points.successful
    rows = points.table.filter(kept)
    flipped = (rows["predicted"] != rows["label"]).to_numpy()
    sizes = rows[f"distance.{condition.norm}"].to_numpy().astype(np.float64)
    found = median(np.where(flipped, sizes, np.inf), groups(rows)) if len(rows) else Estimate.undefined("no images")
    if math.isinf(found.value):
        return Estimate.undefined("most images were never flipped", n=found.n, unit=found.unit)
    return found


def _flags(rows: pl.DataFrame) -> Facts:
    """How many rows each trouble befell; troubles nobody had are left out."""
    counts = {trouble.name: int((rows["flags"] & int(trouble) > 0).sum()) for trouble in Trouble}
    return {str(name).lower(): count for name, count in counts.items() if count}
