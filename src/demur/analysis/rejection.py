"""What each signal declines when images get worse, at a threshold that declines few of the clean ones."""

import numpy as np

from demur.analysis.accuracy import share
from demur.analysis.results import Rejection
from demur.analysis.run import Run, score

_CLEAN = 0.05
"""The share of clean images to decline where no guard says how many."""


def rejections(run: Run) -> tuple[Rejection, ...]:
    """One row per signal, over test rows; none where there are no tune rows to set a threshold on."""
    tune = run.rows("clean", "tune")
    if tune.is_empty():
        return ()
    clean = _CLEAN if run.guard is None else float((~run.answered(run.guard, tune)).mean())
    return tuple(_rejection(run, name, clean, float(np.quantile(score(tune, name), 1 - clean))) for name in run.signals)


def _rejection(run: Run, signal: str, clean: float, threshold: float) -> Rejection:
    tests = {entry["name"]: run.rows(entry["name"], "test") for entry in run.conditions()}
    return Rejection(
        signal=signal,
        clean=clean,
        threshold=threshold,
        declined={name: share(score(rows, signal) > threshold, rows) for name, rows in tests.items()},
    )
