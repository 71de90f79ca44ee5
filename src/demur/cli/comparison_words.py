"""What `demur compare` says."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from demur.analysis.quantity import by_chance
from demur.report.perturbation_words import difference_interval, perturbation_size, quantile_interval, size_words
from demur.report.phrases import signed

if TYPE_CHECKING:
    from demur.analysis.paired_runs import (
        ClassPerturbations,
        Comparison,
        ModelPair,
        PerturbationPair,
        SearchPair,
        Shares,
    )
    from demur.analysis.quantity import Quantity
    from demur.analysis.robustness.censored_quantiles import CensoredQuantile

_CLASSES, _LEVEL = 3, 0.05


def compare_words(found: "Comparison") -> list[str]:
    """The runs, then each pair of them in a few lines."""
    lines = [f"{run.letter}  {run.path}: {run.model}" for run in found.runs]
    for pair in found.pairs:
        lines += ["", f"{pair.second} against {pair.first}. {pair.verdict}", *(f"  {line}" for line in _of(pair))]
    return lines


def _of(pair: "ModelPair") -> Iterator[str]:
    yield f"Right: {_shares(pair.accuracy, pair)}"
    for row in pair.robust_accuracy:
        yield f"Right under {row.condition}: {_shares(row.shares, pair)}"
    for search in pair.searches:
        yield from _search(search, pair)
    yield from pair.notes
    yield f"Intervals are 95 %, by {pair.accuracy.first.unit}."


def _shares(found: "Shares", pair: "ModelPair") -> str:
    return (
        f"{pair.first} {_percent(found.first)}, {pair.second} {_percent(found.second)} of {found.n:,} images; "
        f"{pair.second} − {pair.first} {_points(found.difference)}, {by_chance(found.p_value)}."
    )


def _search(found: "SearchPair", pair: "ModelPair") -> Iterator[str]:
    yield f"{found.sentence} ({found.condition})"
    if found.verdict.removesuffix(".") not in pair.verdict:
        yield f"  {found.verdict}"
    yield f"  Of all: {_changes(found.all_images, found.norm, pair)}"
    yield f"  Of those that both had right: {_changes(found.correct_images, found.norm, pair)}"
    told = [row for row in found.per_class if row.p_value <= _LEVEL]
    ordered = sorted(told, key=lambda row: (-row.changes.effect.value, row.name))
    for letter, rows, sign in ((pair.second, ordered, 1), (pair.first, ordered[::-1], -1)):
        ahead = [row for row in rows if sign * row.changes.effect.value > 0][:_CLASSES]
        if ahead:
            yield f"  {letter} most ahead, p for all classes at once: {'; '.join(_class(row, sign) for row in ahead)}."
    if found.per_class and not told:
        yield "  No class by itself differs by more than noise."


def _changes(found: "PerturbationPair", norm: str, pair: "ModelPair") -> str:
    spread = difference_interval(found.difference, norm)
    difference = size_words(found.difference, norm) + (f" ({spread})" if spread else "")
    return (
        f"median {pair.first} {_quantile(found.first, norm)}, {pair.second} {_quantile(found.second, norm)}; "
        f"larger with {pair.first} on {found.first_larger:,}, with {pair.second} on {found.second_larger:,}, the same "
        f"on {found.ties:,} of {found.n:,}; median of {pair.second} − {pair.first} {difference}."
    )


def _class(row: "ClassPerturbations", sign: int) -> str:
    larger, smaller = (row.changes.second_larger, row.changes.first_larger)[::sign]
    return f"{row.name}: {larger:,} larger, {smaller:,} smaller of {row.changes.n:,}, {by_chance(row.p_value)}"


def _quantile(found: "CensoredQuantile", norm: str) -> str:
    spread = quantile_interval(found, norm)
    return perturbation_size(found, norm) + (f" ({spread})" if spread else "")


def _percent(found: "Quantity") -> str:
    if math.isnan(found.value):
        return f"undefined ({found.reason})"
    return f"{100 * found.value:.1f} % ({100 * found.low:.1f} to {100 * found.high:.1f})"


def _points(found: "Quantity") -> str:
    if math.isnan(found.value):
        return f"undefined ({found.reason})"
    value, low, high = (signed(100 * end, 1) for end in (found.value, found.low, found.high))
    return f"{value} points ({low} to {high})"
