"""Which epoch of a training is the best, when to wait no longer for a better one, and what to say of it."""

from collections.abc import Sequence
from math import ceil

from demur.training.catastrophic_overfitting import overfitting
from demur.training.learning_curve import EpochRow
from demur.training.recipe import Recipe

_ROUNDING = 1e-9


def patience(recipe: Recipe) -> int:
    """Epochs without a better one after which a recipe ends; 0 for never."""
    return int(getattr(recipe, "patience", 0))


def epoch_score(row: EpochRow, recipe: Recipe) -> float | None:
    """What epochs are told apart by, higher = better; None where the last is kept, whatever it is like."""
    if row.proven_accuracy is not None:
        return row.proven_accuracy
    if row.robust_accuracy is None and patience(recipe):
        return row.accuracy
    return row.robust_accuracy


def best_epoch(rows: Sequence[EpochRow], recipe: Recipe) -> EpochRow | None:
    """The first of the best ones; None where nothing tells them apart."""
    scored = [(score, row) for row in rows if (score := epoch_score(row, recipe)) is not None]
    return max(scored, key=lambda pair: pair[0])[1] if scored else None


def overdue(rows: Sequence[EpochRow], recipe: Recipe) -> bool:
    """Whether the last `patience` epochs brought nothing better; of the curve alone, so that it is so after a kill.

    Epochs before a recipe has settled on what it learns are not waited for.
    """
    best, settled = best_epoch(rows, recipe), ceil(getattr(recipe, "settled", 0.0) * recipe.epochs - _ROUNDING)
    return bool(best and patience(recipe) and rows[-1].epoch - max(best.epoch, settled) >= patience(recipe))


def course(rows: Sequence[EpochRow], recipe: Recipe) -> tuple[str, ...]:
    """Sentences on how a training went: the epoch that is kept, an early end, an overfitting to its own step."""
    return tuple(sentence for sentence in (_kept(rows, recipe), _end(rows, recipe), overfitting(rows)) if sentence)


def _kept(rows: Sequence[EpochRow], recipe: Recipe) -> str:
    best = best_epoch(rows, recipe)
    if best is None:
        return ""
    attacked, proven = best.robust_accuracy is not None, best.proven_accuracy is not None
    images = best.attacked if attacked else best.held_out
    what = ", the most proven" if proven else ", the best under attack" if attacked else ", the best"
    return (
        f"Epoch {best.epoch} of {len(rows)} is kept{what}: {100 * (epoch_score(best, recipe) or 0.0):.1f} % "
        f"of {images:,} images set aside, which is flattering where it chose the epoch."
    )


def _end(rows: Sequence[EpochRow], recipe: Recipe) -> str:
    if len(rows) >= recipe.epochs or not overdue(rows, recipe):
        return ""
    waited = f"none of the last {patience(recipe)} epochs was better"
    return f"Stopped after epoch {rows[-1].epoch} of {recipe.epochs}: {waited}."
