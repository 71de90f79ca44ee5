"""Adversarial results of the first screen: the median minimal perturbation, and the guard under attack."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from demur.analysis.quantity import Quantity, Table
from demur.analysis.robustness.attack_tables import (
    display_name,
    is_unlimited,
    median_perturbation,
    minimal_perturbation,
    stage_names,
)
from demur.analysis.run_folder import Flags, Run, share
from demur.metrics.estimate import Estimate
from demur.records import groups, wrong


class Manipulation(Table):
    """Deliberate manipulation on one screen: null where no attack ran.

    `eps` and `robust_accuracy` are null where no attack has a stated size, `wrong_answers` where none of that size
    keeps its worst point.
    """

    norm: str
    median_distance: Quantity
    eps: float | None
    attacked_samples: int
    wrong_answers: int | None
    robust_accuracy: Quantity | None
    sentence: str


def manipulation(run: Run) -> Manipulation | None:
    """The attacks on one screen, at the size of the attack that keeps its worst point; None where none was run.

    Sizes are those of L∞, or of L2 where no attack of the plan measures itself in L∞.
    """
    attacks = run.conditions("attack")
    if not attacks:
        return None
    norm = _norm(attacks)
    bounded = [entry for entry in attacks if entry["severity"] > 0 and entry["norm"] == norm]
    worst = [entry for entry in bounded if entry["keep"] == "worst"]
    bounded = worst or bounded
    eps = bounded[0]["severity"] if bounded else None
    rows = run.rows((bounded or attacks)[0]["name"])
    searches = sorted({display_name(name) for entry in attacks for name in _searches(run, entry)})
    return Manipulation(
        norm=norm,
        median_distance=Quantity.of(_median_distance(run, norm)),
        eps=eps,
        attacked_samples=len(rows),
        wrong_answers=int((run.accepts(run.guard, rows) & wrong(rows)).sum()) if run.guard and worst else None,
        robust_accuracy=None if eps is None else share(robust_points(run, eps, norm), rows),
        sentence=(
            f"Searched with {', '.join(searches)} on {len(rows):,} test images chosen by hash, with full knowledge of "
            "the model and none of the guard. A stronger search can only find more."
        ),
    )


def _norm(attacks: Sequence[Mapping[str, Any]]) -> str:
    return "l2" if {"linf", "l2"} & {entry["norm"] for entry in attacks} == {"l2"} else "linf"


def _searches(run: Run, entry: Mapping[str, Any]) -> list[str]:
    """The attacks of a condition, an ensemble's one by one."""
    return stage_names(run.rows(entry["name"])) or [entry["family"]]


def robust_points(run: Run, eps: float, norm: str = "linf") -> Flags:
    """Which attacked images stay right under every attack, as far as changes of at most `eps` go, in row order.

    The change counts as it was measured, whatever size an attack was allowed. An image that was wrong already has none.
    """
    alive = np.empty(0, bool)
    for entry in run.conditions("attack"):
        rows = run.rows(entry["name"])
        fooled = wrong(rows) & (rows[f"distance.{norm}"].fill_null(0.0) <= eps + 1e-6 * max(1.0, eps)).to_numpy()
        alive = ~fooled if not len(alive) else alive & ~fooled
    return alive


def _median_distance(run: Run, norm: str) -> Estimate:
    """Images that are wrong already need no change; those no search flipped lie above every cap."""
    searches = (entry for entry in run.conditions("attack", "nearest") if entry["norm"] == norm and is_unlimited(entry))
    nearest = next((entry for entry in searches if entry.get("target") is None), None)
    if nearest is None:
        return Estimate.undefined("the plan has no attack that looks for the minimal perturbation")
    rows = run.rows(nearest["name"])
    return median_perturbation(minimal_perturbation(rows), groups(rows))
