"""The smallest changes by attacks, beside those along a direction on the same images."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from demur.analysis.reach import ROUNDING, ecdf, finite, reach
from demur.analysis.robustness import smallest, unlimited
from demur.analysis.run import Run, groups, share
from demur.analysis.searched import Beside
from demur.metrics.quantile import median


def beside(run: Run, direction: Mapping[str, Any]) -> tuple[Beside, ...]:
    """Every other search for the smallest change in the norm of a direction that shares images with it."""
    found = (_beside(run, direction, entry) for entry in _attacks(run) if entry["norm"] == direction["norm"])
    return tuple(each for each in found if each is not None)


def is_direction(entry: Mapping[str, Any]) -> bool:
    """Whether a search follows one direction: then it has a cap, and a scan of some resolution."""
    return entry["resolution"] is not None


def _attacks(run: Run) -> Iterator[Mapping[str, Any]]:
    for entry in run.conditions("attack", "nearest"):
        if unlimited(entry) and entry.get("target") is None:
            yield entry
    for entry in run.conditions("epsilon"):
        if not is_direction(entry):
            yield entry


def _beside(run: Run, direction: Mapping[str, Any], entry: Mapping[str, Any]) -> Beside | None:
    one, other = (
        run.rows(each["name"]).with_columns(change=smallest(run.rows(each["name"]))) for each in (direction, entry)
    )
    both = one.join(other.select("sample_id", attack="change"), on="sample_id", how="inner", maintain_order="left")
    if both.is_empty():
        return None
    along, attack = both["change"].to_numpy(), both["attack"].to_numpy()
    right = (along > 0) & (attack > 0)
    known = right & np.isfinite(attack)
    return Beside(
        condition=entry["name"],
        sentence=entry["sentence"],
        n=len(both),
        median=reach(attack, groups(both)),
        ratio=finite(
            median(along[known] / attack[known], groups(both.filter(known))),
            "too many images were flipped by the attack alone",
        ),
        upheld=share(attack[right] <= along[right] + ROUNDING, both.filter(right)),
        ecdf=ecdf(attack),
    )
