"""Curves of several runs over the same images: right answers against the size of a change, risk against coverage."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import polars as pl

from demur.analysis.accuracy.chart_data import CurvePoint
from demur.analysis.comparison.joined_runs import Entry, Runs, common_names, joined
from demur.analysis.comparison.phase_measures import common_signal
from demur.analysis.quantity import Quantity, Table
from demur.analysis.robustness.least_distances import edge, is_unlimited, least_distances
from demur.analysis.run_folder import Floats, Run, score, share
from demur.metrics.ranking import risk_coverage
from demur.records import wrong

_SIZES, _POINTS = 24, 100


class StandingPoint(Table):
    """The share of images that nothing of at most `eps` fooled."""

    eps: float
    standing: Quantity


class StandingCurve(Table):
    """One run."""

    letter: str
    points: tuple[StandingPoint, ...]


class StandingCurves(Table):
    """All runs in one norm, on the same `n` images, by the conditions `among` that every run has.

    Where none of these searches for minimal perturbations there are points at the sizes of attacks alone, and `is_line`
    is false.
    """

    norm: str
    n: int
    among: tuple[str, ...]
    is_line: bool
    curves: tuple[StandingCurve, ...]


class RiskCurve(Table):
    """One run: wrong among the answered, at each coverage."""

    letter: str
    points: tuple[CurvePoint, ...]


class RiskCurves(Table):
    """All runs by one signal, on the same `n` clean images."""

    signal: str
    n: int
    curves: tuple[RiskCurve, ...]


def standing_curves(runs: Runs) -> Iterator[StandingCurves]:
    """One table for every norm in which all the runs made an attack or a search."""
    first = next(iter(runs.values()))
    names = common_names(runs, ("attack", "epsilon"))
    entries = [entry for entry in first.facts["conditions"] if entry["name"] in names and _is_whole(entry)]
    for norm in dict.fromkeys(entry["norm"] for entry in entries if entry["norm"] in {"linf", "l2", "l1"}):
        own = [entry for entry in entries if entry["norm"] == norm]
        attacked = [entry for entry in own if entry["kind"] == "attack"] or own
        rows = joined(runs, attacked[0]["name"], partial(_least, norm=norm, among=names))
        is_line = any(is_unlimited(entry) for entry in own)
        sizes = {entry["severity"] for entry in own if entry["severity"]} | (_spread(rows, runs) if is_line else set())
        if sizes:
            yield StandingCurves(
                norm=norm,
                n=len(rows),
                among=tuple(entry["name"] for entry in own),
                is_line=is_line,
                curves=tuple(_curve(rows, letter, sorted({0.0, *sizes})) for letter in runs),
            )


def _is_whole(entry: Entry) -> bool:
    """Whether it may change every pixel and end in any other class."""
    return entry.get("target") is None and entry.get("region") is None and entry.get("part") in {None, "whole"}


def _least(run: Run, rows: pl.DataFrame, norm: str, among: frozenset[str]) -> Floats:
    return least_distances(run, norm, rows, among)


def _spread(rows: pl.DataFrame, runs: Runs) -> set[float]:
    """Sizes where something falls, of every run."""
    found = [rows[letter].to_numpy() for letter in runs]
    places = np.linspace(0.02, 0.98, _SIZES)
    finite = [own[np.isfinite(own) & (own > 0)] for own in found]
    return {float(f"{size:.4g}") for own in finite if len(own) for size in np.quantile(own, places)}


def _curve(rows: pl.DataFrame, letter: str, sizes: list[float]) -> StandingCurve:
    least = rows[letter].to_numpy()
    points = (StandingPoint(eps=size, standing=share(least > (edge(size) if size else 0), rows)) for size in sizes)
    return StandingCurve(letter=letter, points=tuple(points))


def risk_curves(runs: Runs) -> RiskCurves | None:
    """By the first signal that all have; None where there is none."""
    signal = common_signal(runs)
    if signal is None:
        return None
    scores = joined(runs, "clean", lambda _, rows: score(rows, signal))
    errors = joined(runs, "clean", lambda _, rows: wrong(rows))
    return RiskCurves(
        signal=signal,
        n=len(scores),
        curves=tuple(
            RiskCurve(letter=letter, points=_points(scores[letter].to_numpy(), errors[letter].to_numpy()))
            for letter in runs
        ),
    )


def _points(scores: Floats, errors: Floats) -> tuple[CurvePoint, ...]:
    found = risk_coverage(scores, errors, _POINTS)
    points = zip(found.threshold, found.coverage, found.risk, strict=True)
    return tuple(CurvePoint(threshold=float(t), coverage=float(c), risk=float(r)) for t, c, r in points)
