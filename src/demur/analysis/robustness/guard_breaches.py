"""Wrong answers that got past the guard: what is found at least of what a proof allows at most."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from demur.analysis.quantity import Quantity, Table
from demur.analysis.robustness.least_distances import edge
from demur.analysis.robustness.manipulation import searches_of
from demur.analysis.run_folder import Flags, Run, share
from demur.records import wrong


class GuardBreach(Table):
    """The share of images of which some attack within a size, or none, got a wrong answer past the guard.

    `attackers` are the attacks that looked for points of at most this size, empty where the answers are those to images
    as they are; `knew_guard` is whether any of them aimed at the guard.
    """

    value: Quantity
    attackers: tuple[str, ...]
    knew_guard: bool


def guard_breach(run: Run, rows: pl.DataFrame, norm: str, eps: float) -> GuardBreach:
    """What is found of the guard within a size: everything that is said to be found of it comes from here."""
    assert run.guard is not None
    entries = [*_attacks(run, norm, eps)]
    found = pl.Series(dtype=pl.String)
    for each in (run.rows("clean"), *(run.rows(entry["name"]) for entry in entries)):
        passed = run.accepts(run.guard, each) & wrong(each) & _within(each, norm, eps)
        found = found.append(each.filter(passed)["sample_id"])
    return GuardBreach(
        value=share(rows["sample_id"].is_in(found.implode()).to_numpy(), rows),
        attackers=tuple(dict.fromkeys(name for entry in entries for name, _ in searches_of(run, entry))),
        knew_guard=False,
    )


def _attacks(run: Run, norm: str, eps: float) -> Iterator[Mapping[str, Any]]:
    """The attacks of at most a size, and the searches for minimal perturbations, whose points may be that near."""
    return (each for each in run.conditions("attack") if each["norm"] == norm and each["severity"] <= edge(eps))


def _within(rows: pl.DataFrame, norm: str, eps: float) -> Flags:
    """Rows changed by no more than a size; clean ones are not changed."""
    column = f"distance.{norm}"
    if column not in rows.columns:
        return np.ones(len(rows), np.bool_)
    return rows[column].cast(pl.Float64).fill_null(0).to_numpy() <= edge(eps)
