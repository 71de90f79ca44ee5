"""What is proven of several smoothed classifiers, where at least two runs have the same images at the same size."""

from collections.abc import Iterable, Iterator
from functools import partial

import polars as pl

from demur.analysis.comparison.joined_runs import Runs, met
from demur.analysis.comparison.phase_measures import Measure, share_measure
from demur.analysis.robustness.smoothed_answers import Smoothed, smoothed, smoothed_rows

_NORM = "l2"


def smoothed_measures(runs: Runs) -> Iterator[Measure]:
    """For each size that any draws reach: right whatever is done, then what the guards by votes may answer wrongly."""
    tables = {letter: found for letter, run in runs.items() if (found := smoothed(run)) and found.sizes}
    for radius in sorted({size.radius for table in tables.values() for size in table.sizes}):
        own = [letter for letter, table in tables.items() if radius in {size.radius for size in table.sizes}]
        size, drawn = f"{radius:.3g} (L2)", "; ".join(f"{letter}: {_noise(tables[letter])}" for letter in own)
        if len(own) > 1 and any(radius < tables[letter].reach for letter in own):
            said = f"The smoothed classifier is right whatever is done to the image by at most {size}. {drawn}"
            yield _measure(f"Smoothed: proven up to {size}", said, _of(runs, own), radius, right=True)
        if len(own) > 1 and any(radius < tables[letter].guard_reach for letter in own):
            said = f"A guard by votes may answer wrongly after a change of at most {size}. {drawn}"
            title = f"Smoothed: accepted and wrong up to {size}, at most"
            yield _measure(title, said, _of(runs, own), radius, right=False)


def _of(runs: Runs, letters: Iterable[str]) -> Runs:
    return {letter: runs[letter] for letter in letters}


def _noise(found: Smoothed) -> str:
    """What a smoothed classifier is, and with what chance a proof of one image does not hold."""
    return f"σ = {found.sigma:g}, {found.samples:,} draws, {found.share:g} must agree, error {found.alpha:g} per image"


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
