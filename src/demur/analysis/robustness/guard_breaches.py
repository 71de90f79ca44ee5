"""Wrong answers that got past the guard: what is found at least of what a proof allows at most."""

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from demur.analysis.quantity import Quantity, Table
from demur.analysis.robustness.accepted_distances import accepted_wrong_found
from demur.analysis.robustness.guarded_rows import NORM, GuardedRows, guarded_rows
from demur.analysis.robustness.least_distances import edge
from demur.analysis.robustness.manipulation import searches_of
from demur.analysis.run_folder import Run, share


class GuardBreach(Table):
    """The share of images of which some attack within a size, or none, got a wrong answer past the guard.

    `attackers` are the attacks that looked for points of at most this size, empty where the answers are those to images
    as they are; `knew_guard` is whether any of them aimed at the guard, at this size.
    """

    value: Quantity
    attackers: tuple[str, ...]
    knew_guard: bool


def guard_breach(run: Run, rows: pl.DataFrame, norm: str, eps: float) -> GuardBreach:
    """What is found of the guard within a size: everything that is said to be found of it comes from here.

    Attackers who were aimed at the guard count where they attacked all of these images at this size: those of smaller
    ones say nothing of what somebody who knows the guard finds here.
    """
    assert run.guard is not None
    knew_guard = norm == NORM and any(_covers(each, rows, eps) for each in guarded_rows(run))
    entries = [*_attacks(run, norm, eps)]
    return GuardBreach(
        value=share(accepted_wrong_found(run, rows, eps, norm=norm, aimed=knew_guard), rows),
        attackers=tuple(dict.fromkeys(name for entry in entries for name, _ in searches_of(run, entry))),
        knew_guard=knew_guard,
    )


def _covers(found: GuardedRows, rows: pl.DataFrame, eps: float) -> bool:
    """Whether what was found of the guard is of all of some images, and at a size."""
    return abs(found.eps - eps) <= edge(eps) - eps and set(rows["sample_id"]) <= set(found.clean["sample_id"])


def _attacks(run: Run, norm: str, eps: float) -> Iterator[Mapping[str, Any]]:
    """The attacks of at most a size, and the searches for minimal perturbations, whose points may be that near."""
    return (each for each in run.conditions("attack") if each["norm"] == norm and each["severity"] <= edge(eps))
