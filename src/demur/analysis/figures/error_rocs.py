"""Wrong answers found against right ones refused: of every signal at every threshold, of every policy at its own."""

import numpy as np

from demur.analysis.quantity import Quantity, Table
from demur.analysis.run_folder import Flags, Floats, Run, score, share
from demur.records import wrong

_POINTS = 60


class ErrorRoc(Table):
    """Pairs (right answers refused, wrong answers refused) of one signal at thresholds from high to low.

    Over clean test rows; at most 61 points, evenly along the right answers refused.
    """

    signal: str
    points: tuple[tuple[float, float], ...]


class OperatingPoint(Table):
    """Where a policy stands: the shares of right and of wrong answers to clean test images that it refuses."""

    policy: str
    right_refused: Quantity
    wrong_refused: Quantity


def error_rocs(run: Run) -> tuple[ErrorRoc, ...]:
    """A curve of each signal; none where no answer or every one is wrong."""
    rows = run.unfitted_rows()
    failed = wrong(rows)
    if not failed.any() or failed.all():
        return ()
    return tuple(ErrorRoc(signal=name, points=_points(score(rows, name), failed)) for name in run.signals)


def operating_points(run: Run) -> tuple[OperatingPoint, ...]:
    """A point of each policy that was fitted."""
    rows = run.unfitted_rows()
    failed = wrong(rows)
    found = []
    for name, policy in run.policies.items():
        refused = ~run.accepts(policy, rows)
        shares = [share(refused[kind], rows.filter(kind)) for kind in (~failed, failed)]
        found.append(OperatingPoint(policy=name, right_refused=shares[0], wrong_refused=shares[1]))
    return tuple(found)


def _points(uncertainty: Floats, failed: Flags) -> tuple[tuple[float, float], ...]:
    """Rows of equal uncertainty go together."""
    order = np.argsort(-uncertainty, kind="stable")
    flags, ends = failed[order], np.flatnonzero(np.append(np.diff(uncertainty[order]) != 0, [True]))
    hits, alarms = (np.append(0, np.cumsum(kind)[ends] / kind.sum()) for kind in (flags, ~flags))
    chosen = np.unique([0, *(np.searchsorted(alarms, np.linspace(0, 1, _POINTS), side="right") - 1)])
    return tuple((round(float(alarms[at]), 5), round(float(hits[at]), 5)) for at in chosen)
