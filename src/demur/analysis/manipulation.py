"""Deliberate manipulation: how small a change flips the answer, and what the guard then does."""

from dataclasses import replace

import numpy as np
import polars as pl

from demur.analysis.results import Manipulation, Quantity
from demur.analysis.run import Run, groups, wrong
from demur.metrics import proportion
from demur.metrics.estimate import Estimate
from demur.metrics.quantile import median


def manipulation(run: Run) -> Manipulation | None:
    """The attacks on one screen; None where the plan has no attack of a stated size."""
    attacks = run.conditions("attack")
    bounded = [entry for entry in attacks if entry["severity"] > 0]
    if not bounded:
        return None
    worst = run.conditions("attack", "worst")
    eps = (worst or bounded)[0]["severity"]
    rows = run.rows((worst or bounded)[0]["name"])
    searches = sorted({entry["family"].upper() for entry in attacks})
    return Manipulation(
        norm="linf",
        median_distance=Quantity.of(_median_distance(run)),
        eps=eps,
        attacked=len(rows),
        answered_wrong=None if run.guard is None else int((run.answered(run.guard, rows) & wrong(rows)).sum()),
        robust_accuracy=Quantity.of(proportion(survivors(run, eps), groups(rows))),
        sentence=(
            f"Searched with {', '.join(searches)} on {len(rows):,} test images chosen by hash, with full knowledge of "
            "the model and none of the guard. A stronger search can only find more."
        ),
    )


def survivors(run: Run, eps: float) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which attacked images stay right under every attack of at most `eps`, in the order of the attacked rows."""
    alive = None
    for entry in run.conditions("attack"):
        rows = run.rows(entry["name"])
        fooled = wrong(rows)
        if entry["keep"] == "nearest":
            fooled &= (rows["distance.linf"].fill_null(np.inf) <= eps + 1e-6).to_numpy()
        elif entry["severity"] > eps + 1e-6:
            continue
        alive = ~fooled if alive is None else alive & ~fooled
    return np.empty(0, bool) if alive is None else alive


def _median_distance(run: Run) -> Estimate:
    """Images that are wrong already need no change; those no search flipped lie above every cap."""
    nearest = run.conditions("attack", "nearest")
    if not nearest:
        return Estimate.undefined("the plan has no attack that looks for the smallest change")
    rows = run.rows(nearest[0]["name"])
    distance = rows.select(pl.when("epsilon.censored").then(np.inf).otherwise(pl.col("epsilon.minimal")))
    found = median(distance.to_series().to_numpy(), groups(rows))
    if np.isinf(found.value):
        return Estimate.undefined("most images were never flipped", n=found.n, unit=found.unit)
    if np.isinf(found.high):
        return replace(found, high=np.nan, reason="no upper end: too many images were never flipped")
    return found
