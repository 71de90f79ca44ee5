"""What is proven of several smoothed classifiers, where at least two runs have the same images at the same size."""

from collections.abc import Iterator
from functools import partial

import polars as pl

from demur.analysis.comparison.joined_runs import Runs, met
from demur.analysis.comparison.phase_measures import Measure, share_measure
from demur.analysis.robustness.smoothed_answers import smoothed_rows
from demur.analysis.run_folder import Run

_NORM = "l2"


def smoothed_measures(runs: Runs) -> Iterator[Measure]:
    """For each size: right whatever is done, then what the guards by votes may answer wrongly."""
    for radius in sorted({radius for run in runs.values() for radius in _radii(run)}):
        own = {letter: run for letter, run in runs.items() if radius in _radii(run)}
        if len(own) > 1:
            size, drawn = f"{radius:.3g} (L2)", "; ".join(f"{letter}: {_noise(run)}" for letter, run in own.items())
            said = f"The smoothed classifier is right whatever is done to the image by at most {size}. {drawn}"
            yield _measure(f"Smoothed: proven up to {size}", said, own, radius, right=True)
            said = f"A guard by votes may answer wrongly after a change of at most {size}. {drawn}"
            yield _measure(f"Smoothed: accepted and wrong up to {size}, at most", said, own, radius, right=False)


def _radii(run: Run) -> list[float]:
    facts = run.optional_facts("smoothing")
    return [] if facts is None or facts["reason"] else facts["radii"]


def _noise(run: Run) -> str:
    """What a smoothed classifier is, and with what chance a proof of one image does not hold."""
    facts = run.optional_facts("smoothing")
    return f"σ = {facts['sigma']:g}, {facts['samples']:,} draws, error {facts['alpha']:g} per image"


def _measure(title: str, said: str, runs: Runs, radius: float, *, right: bool) -> Measure:
    facts = {"kind": "smoothed", "title": title, "sentence": said, "condition": None, "eps": radius, "norm": _NORM}
    return share_measure(facts | {"larger_is_better": right}, runs, partial(_table, runs, radius, right=right))


def _table(runs: Runs, radius: float, *, right: bool) -> pl.DataFrame:
    tables = {}
    for letter, run in runs.items():
        rows = smoothed_rows(run, run.optional_facts("smoothing"))
        proven = rows["right_radius" if right else "safe_radius"] > radius
        tables[letter] = rows.with_columns((proven if right else ~proven).alias(letter))
    return met(tables)
