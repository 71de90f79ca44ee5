"""Catastrophic overfitting: a network learns one step of an attack by heart and falls to ten."""

import math
from collections.abc import Sequence

from demur.training.learning_curve import EpochRow

_FALL, _ERRORS = 0.5, 2.0


def overfitting(rows: Sequence[EpochRow]) -> str:
    """What happened, with the epoch it first showed in; empty where nothing did.

    Accuracy under ten steps is below half of its best, by more than two standard errors, while accuracy under one step
    is no lower than it was at that best: what is left is robustness against the step of the training.
    A training for proofs takes no step.

    Wong et al. (2020), arXiv:2001.03994.
    """
    best: EpochRow | None = None
    for row in rows:
        if row.robust_accuracy is None or row.one_step_accuracy is None or row.proven_accuracy is not None:
            continue
        if best is not None and _fell(best, row):
            return _words(best, row)
        if best is None or row.robust_accuracy > (best.robust_accuracy or 0.0):
            best = row
    return ""


def _fell(best: EpochRow, row: EpochRow) -> bool:
    before, now = best.robust_accuracy or 0.0, row.robust_accuracy or 0.0
    error = math.sqrt((before * (1 - before) + now * (1 - now)) / max(1, row.attacked))
    held = (row.one_step_accuracy or 0.0) >= (best.one_step_accuracy or 0.0)
    return held and now < _FALL * before and before - now > _ERRORS * error


def _words(best: EpochRow, row: EpochRow) -> str:
    before, now, was, left = (
        f"{100 * (share or 0.0):.1f} %"
        for share in (best.robust_accuracy, row.robust_accuracy, best.one_step_accuracy, row.one_step_accuracy)
    )
    return (
        f"Catastrophic overfitting in epoch {row.epoch}: ten steps of an attack leave {now} of {row.attacked:,} images "
        f"right, after {before} in epoch {best.epoch}, and one step {left}, after {was}. The network has learned the "
        "step of its training by heart; a larger `noise`, a smaller `eps` or pgd_at avoid it."
    )
