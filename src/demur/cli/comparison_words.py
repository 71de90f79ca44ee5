"""What `demur compare` says."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from demur.analysis.quantity import by_chance
from demur.report.comparison_lines import answer_line, phase_line
from demur.report.perturbation_words import difference_interval, perturbation_size, quantile_interval, size_words

if TYPE_CHECKING:
    from demur.analysis.paired_runs import (
        ClassPerturbations,
        Comparison,
        ModelPair,
        PerturbationPair,
        SearchPair,
    )
    from demur.analysis.robustness.censored_quantiles import CensoredQuantile

_CLASSES, _LEVEL = 3, 0.05


def compare_words(found: "Comparison") -> list[str]:
    """The runs, whether hardening helped, then each pair of runs in a few lines."""
    lines = [f"{run.letter}  {run.path}: {run.model}" for run in found.runs]
    lines += ["", f"Did hardening help? {answer_line(found)}", *(f"  {each.sentence}" for each in found.hardening)]
    for pair in found.pairs:
        lines += ["", f"{pair.second} against {pair.first}. {pair.verdict}"]
        lines += [f"  {line}" for line in _of(pair, found)]
    return [*lines, *(["", *found.lacking] if found.lacking else [])]


def _of(pair: "ModelPair", found: "Comparison") -> Iterator[str]:
    for phase in found.phases:
        difference = phase.difference(pair.second)
        if difference is not None:
            yield phase_line(phase, difference, pair.first)
    for search in pair.searches:
        yield from _search(search, pair)
    yield from pair.notes
    of_all = f"those of differences hold for all {found.tested} at once" if found.tested > 1 else "one difference"
    yield f"Intervals are 95 %, by {pair.accuracy.first.unit}; {of_all}."


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
