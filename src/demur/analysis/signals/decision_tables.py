"""The failure table of each policy, and what each signal abstains on as images get worse."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from demur.analysis.quantity import Quantity, Table
from demur.analysis.row_design import design_of
from demur.analysis.run_folder import Run, score, share
from demur.metrics import failure_table
from demur.policies import CERTIFIED_POLICIES, Policy
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
    """The failure table: what a policy flags under a condition, on rows of the `splits` on which nothing was fitted."""

    policy: str
    condition: str
    n: int
    accuracy: Quantity
    flagged: Quantity
    accuracy_unflagged: Quantity
    accuracy_flagged: Quantity
    errors_caught: Quantity
    balanced_accuracy: Quantity
    precision: Quantity | None = None
    fpr: Quantity | None = None
    splits: tuple[str, ...] = ()


def policy_rows(run: Run) -> tuple[PolicyRow, ...]:
    """Every issued policy under every condition, over the rows that had no part in it."""
    entries = {entry["name"]: entry for entry in run.policy_facts}
    rows = list[PolicyRow]()
    for name, policy in run.policies.items():
        splits = untouched(policy, entries[name])
        rows.extend(_policy_row(run, name, entry["name"], splits) for entry in run.conditions())
    return tuple(rows)


def untouched(policy: Policy, entry: Mapping[str, Any]) -> tuple[str, ...]:
    """The splits that had no part in a policy: the test rows, without a certificate those for certifying too."""
    if isinstance(policy, CERTIFIED_POLICIES):
        return ("test",)
    return ("certify", "test") if "fit" in entry else ("tune", "certify", "test")


def _policy_row(run: Run, name: str, condition: str, splits: tuple[str, ...]) -> PolicyRow:
    everything = run.drawn(condition)
    rows = everything.filter(pl.col("split").is_in(splits))
    found = failure_table(run.accepts(run.policies[name], rows), wrong(rows), groups(rows), design_of(rows))
    numbers = {key: Quantity.of(estimate) for key, estimate in vars(found).items()}
    have = tuple(split for split in splits if split in set(rows["split"]))
    return PolicyRow(policy=name, condition=condition, splits=have, n=len(rows), **numbers)


class PolicyFitRow(Table):
    """How a policy that follows from tune rows alone was fitted, or why it was not."""

    policy: str
    fitted: bool
    sentence: str


def policy_fit_rows(run: Run) -> tuple[PolicyFitRow, ...]:
    """One for each such policy of the plan, in its order."""
    said = {entry["name"]: entry["fit"]["sentence"] for entry in run.policy_facts if entry.get("fit")}
    reasons = {entry["name"]: entry["unfitted"] for entry in run.policy_facts if entry.get("unfitted")}
    order = [entry["name"] for entry in run.policy_facts if entry["name"] in said | reasons]
    return tuple(PolicyFitRow(policy=name, fitted=name in said, sentence=(said | reasons)[name]) for name in order)


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
    tests = {entry["name"]: run.drawn(entry["name"], "test") for entry in run.conditions()}
    return Rejection(
        signal=signal,
        clean_rate=clean,
        threshold=threshold,
        abstention_rates={name: share(score(rows, signal) > threshold, rows) for name, rows in tests.items()},
    )
