"""The probability of the label while the change along one direction grows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from demur.analysis.average import average
from demur.analysis.run import Run, share
from demur.analysis.searched import Confidence
from demur.metrics.quantile import weighted_quantile


def followed(run: Run, condition: str) -> tuple[Confidence, ...]:
    """One row per size at which the images of a search were followed; none where they were not."""
    known = (found for found in run.noted("curves") or () if found["condition"] == condition)
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
            mean=average(confidence[:, at], rows),
            lower=weighted_quantile(confidence[:, at], 0.25),
            upper=weighted_quantile(confidence[:, at], 0.75),
            standing=share(right[:, at], rows),
        )
        for at, eps in enumerate(found["eps"])
    )
