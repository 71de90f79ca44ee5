"""The failure table of each policy, and what each signal abstains on as images get worse."""

import numpy as np

from demur.analysis.quantity import Quantity, Table
from demur.analysis.run_folder import Run, score, share
from demur.metrics import failure_table
from demur.records import groups, wrong


class Rejection(Table):
    """The share of test images that one signal abstains on, condition by condition.

    The threshold is set on clean tune images, to abstain on the share `clean_rate` of them.
    """

    signal: str
    clean_rate: float
    threshold: float
    abstention_rates: dict[str, Quantity]


class PolicyRow(Table):
    """The failure table: what a policy flags under a condition (test rows)."""

    policy: str
    condition: str
    n: int
    accuracy: Quantity
    flagged: Quantity
    accuracy_unflagged: Quantity
    accuracy_flagged: Quantity
    errors_caught: Quantity
    balanced_accuracy: Quantity


def policy_rows(run: Run) -> tuple[PolicyRow, ...]:
    """Every issued policy under every condition, over test rows."""
    rows = []
    for name, policy in run.policies.items():
        for entry in run.conditions():
            test = run.rows(entry["name"], "test")
            found = failure_table(run.accepts(policy, test), wrong(test), groups(test))
            numbers = {key: Quantity.of(estimate) for key, estimate in vars(found).items()}
            rows.append(PolicyRow(policy=name, condition=entry["name"], n=len(test), **numbers))
    return tuple(rows)


_CLEAN = 0.05
"""The share of clean images to abstain on where no guard sets it."""


def rejections(run: Run) -> tuple[Rejection, ...]:
    """One row per signal, over test rows; none where there are no tune rows to set a threshold on."""
    tune = run.rows("clean", "tune")
    if tune.is_empty():
        return ()
    clean = _CLEAN if run.guard is None else float((~run.accepts(run.guard, tune)).mean())
    return tuple(_rejection(run, name, clean, float(np.quantile(score(tune, name), 1 - clean))) for name in run.signals)


def _rejection(run: Run, signal: str, clean: float, threshold: float) -> Rejection:
    tests = {entry["name"]: run.rows(entry["name"], "test") for entry in run.conditions()}
    return Rejection(
        signal=signal,
        clean_rate=clean,
        threshold=threshold,
        abstention_rates={name: share(score(rows, signal) > threshold, rows) for name, rows in tests.items()},
    )
