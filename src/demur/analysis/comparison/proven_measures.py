"""What is proven of several runs, where at least two proved it of the same images at the same size."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from demur.analysis.comparison.joined_runs import Runs, met
from demur.analysis.comparison.phase_measures import Measure, share_measure
from demur.analysis.robustness.proven_answers import NORM, acceptable, confidence_floor, proven_rows
from demur.analysis.run_folder import Flags, Run


def proven_measures(runs: Runs) -> Iterator[Measure]:
    """For each size: right whatever is done, then accepted and wrong at most where there are guards of a known kind."""
    proofs = {letter: _sizes(run) for letter, run in runs.items()}
    for eps in sorted({eps for sizes in proofs.values() for eps in sizes}):
        own = {letter: run for letter, run in runs.items() if eps in proofs[letter]}
        guarded = {letter: run for letter, run in own.items() if confidence_floor(run) is not None}
        size = f"{eps:.3g} (L∞)"
        if len(own) > 1:
            said = f"Right whatever is done to the image by at most {size}, proven by bounds"
            yield _measure(f"Proven up to {size}", said, own, eps, _right)
        if len(guarded) > 1:
            said = (
                f"A wrong answer may get past the run's own guard by a change of at most {size}, for all that is proven"
            )
            yield _measure(f"Accepted and wrong up to {size}, proven at most", said, guarded, eps, _accepted)


def _sizes(run: Run) -> dict[float, int]:
    """The sizes that something was proven at, with their places; none where no bound is known."""
    facts = run.optional_facts("proof")
    return {} if facts is None or facts["reason"] else {eps: at for at, eps in enumerate(facts["eps"])}


def _measure(title: str, said: str, runs: Runs, eps: float, value: Any) -> Measure:
    facts = {"kind": "proven", "title": title, "sentence": said, "condition": None, "eps": eps, "norm": NORM}
    facts |= {"larger_is_better": value is not _accepted}
    return share_measure(facts, runs, partial(_table, runs, eps, value))


def _table(runs: Runs, eps: float, value: Any) -> pl.DataFrame:
    tables = {}
    for letter, run in runs.items():
        rows = proven_rows(run, run.optional_facts("proof"))
        found = value(run, rows, _sizes(run)[eps])
        tables[letter] = rows.with_columns(pl.Series(letter, np.asarray(found)))
    return met(tables)


def _right(_: Run, rows: pl.DataFrame, at: int) -> Flags:
    return np.asarray(rows[f"right.{at}"].to_numpy())


def _accepted(run: Run, rows: pl.DataFrame, at: int) -> Flags:
    floor = confidence_floor(run)
    assert floor is not None
    return acceptable(rows, at, floor)
