"""What attackers found of the guards of several runs, where at least two were attacked at the same size."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import polars as pl

from demur.analysis.comparison.joined_runs import Runs, met
from demur.analysis.comparison.phase_measures import Measure, share_measure
from demur.analysis.robustness.accepted_distances import accepted_wrong_found
from demur.analysis.robustness.guard_attack_tables import stands
from demur.analysis.robustness.guarded_rows import NORM, GuardedRows, guarded_rows
from demur.analysis.run_folder import Flags, Run


def guarded_measures(runs: Runs) -> Iterator[Measure]:
    """For each size that at least two guards were attacked at: accepted and wrong, then right and answered."""
    found = {letter: {each.eps: each for each in guarded_rows(run)} for letter, run in runs.items()}
    for eps in sorted({eps for sizes in found.values() for eps in sizes}):
        own = {letter: sizes[eps] for letter, sizes in found.items() if eps in sizes}
        if len(own) > 1:
            among = {letter: runs[letter] for letter in own}
            size, effort = f"{eps:.3g} (L∞)", "; ".join(_effort(letter, run) for letter, run in among.items())
            said = (
                f"An attacker who knows the guard found a change of at most {size} that is answered wrong; a better "
                f"one can only find more. {effort}"
            )
            yield _measure(f"Guard: accepted and wrong up to {size}", said, among, own, eps, _broken, better=False)
            said = f"Right and answered as it is, and no change of at most {size} was found that is answered wrong"
            yield _measure(f"Guard: right and answered up to {size}", said, among, own, eps, stands, better=True)


def _effort(letter: str, run: Run) -> str:
    facts = run.optional_facts("guard_attack")
    return f"{letter}: {facts['steps']} steps, {facts['restarts']} restarts"


def _broken(run: Run, rows: GuardedRows) -> Flags:
    return accepted_wrong_found(run, rows.clean, rows.eps)


def _measure(
    title: str,
    said: str,
    runs: Runs,
    rows: dict[str, GuardedRows],
    eps: float,
    side: Callable[[Run, GuardedRows], Flags],
    *,
    better: bool,
) -> Measure:
    facts: dict[str, Any] = {"kind": "guard", "title": title, "sentence": said, "condition": None, "eps": eps}
    facts |= {"norm": NORM, "larger_is_better": better}
    return share_measure(facts, runs, partial(_table, runs, rows, side))


def _table(runs: Runs, rows: dict[str, GuardedRows], side: Callable[[Run, GuardedRows], Flags]) -> pl.DataFrame:
    found: Iterable[tuple[str, GuardedRows]] = rows.items()
    return met({letter: each.clean.with_columns(pl.Series(letter, side(runs[letter], each))) for letter, each in found})
