"""Deliberate manipulation: how small a change flips the answer, and what the guard then does."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from demur.analysis.results import Manipulation, Quantity
from demur.analysis.robustness import median_change, smallest, stage_names
from demur.analysis.run import Flags, Run, groups, wrong
from demur.metrics import proportion
from demur.metrics.estimate import Estimate


def manipulation(run: Run) -> Manipulation | None:
    """The attacks on one screen, at the size of the attack that keeps its worst point; None where none was run."""
    attacks = run.conditions("attack")
    if not attacks:
        return None
    worst = [entry for entry in run.conditions("attack", "worst") if entry["severity"] > 0]
    bounded = worst or [entry for entry in attacks if entry["severity"] > 0]
    eps = bounded[0]["severity"] if bounded else None
    rows = run.rows((bounded or attacks)[0]["name"])
    searches = sorted({name.upper() for entry in attacks for name in _searches(run, entry)})
    return Manipulation(
        norm="linf",
        median_distance=Quantity.of(_median_distance(run)),
        eps=eps,
        attacked=len(rows),
        answered_wrong=int((run.answered(run.guard, rows) & wrong(rows)).sum()) if run.guard and worst else None,
        robust_accuracy=None if eps is None else Quantity.of(proportion(survivors(run, eps), groups(rows))),
        sentence=(
            f"Searched with {', '.join(searches)} on {len(rows):,} test images chosen by hash, with full knowledge of "
            "the model and none of the guard. A stronger search can only find more."
        ),
    )


def _searches(run: Run, entry: Mapping[str, Any]) -> list[str]:
    """The attacks of a condition, an ensemble's one by one."""
    return stage_names(run.rows(entry["name"])) or [entry["family"]]


def survivors(run: Run, eps: float) -> Flags:
    """Which attacked images stay right under every attack, as far as changes of at most `eps` go, in row order.

    The change counts as it was measured, whatever size an attack was allowed. An image that was wrong already has none.
    """
    alive = np.empty(0, bool)
    for entry in run.conditions("attack"):
        rows = run.rows(entry["name"])
        fooled = wrong(rows) & (rows["distance.linf"].fill_null(0.0) <= eps + 1e-6).to_numpy()
        alive = ~fooled if not len(alive) else alive & ~fooled
    return alive


def _median_distance(run: Run) -> Estimate:
    """Images that are wrong already need no change; those no search flipped lie above every cap."""
    searches = (entry for entry in run.conditions("attack", "nearest") if entry["norm"] == "linf")
    nearest = next((entry for entry in searches if entry.get("target") is None), None)
    if nearest is None:
        return Estimate.undefined("the plan has no attack that looks for the smallest change")
    rows = run.rows(nearest["name"])
    return median_change(smallest(rows), groups(rows))
