"""Runs of several models on the same images, each compared with the first, image by image."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import polars as pl

from demur.analysis.paired_runs import (
    Comparison,
    ModelPair,
    PairedRuns,
    PerturbationPair,
    RobustAccuracyPair,
    RunRow,
    SearchPair,
    Shares,
    class_perturbations,
    ensembles,
    paired_perturbations,
    perturbation_searches,
    row_perturbations,
    shares,
)
from demur.analysis.quantity import by_chance
from demur.analysis.robustness.least_distances import edge, least_distances
from demur.analysis.robustness.perturbation_curves import Entry
from demur.analysis.run_folder import Run, open_run
from demur.errors import InputError
from demur.records import wrong

_LEVEL = 0.05
_COMPARABLE_NORM = "linf"


def compare(paths: Sequence[Path | str]) -> Comparison:
    """Every run but the first against the first.

    Raises:
        InputError: fewer than two runs, or runs on other data or classes.
        RunError: a folder holds no finished run.
    """
    if len(paths) < 2:
        raise InputError(f"a comparison needs at least two run folders; got {len(paths)}. Name another.")
    runs = [open_run(Path(path)) for path in paths]
    for run in runs[1:]:
        _check_same(runs[0], run)
    first, letters = runs[0], [_letter(at) for at in range(len(runs))]
    return Comparison(
        data=first.facts["data"],
        data_sha256=first.facts["data_sha256"],
        classes=first.classes,
        runs=tuple(_row(run, letter) for run, letter in zip(runs, letters, strict=True)),
        pairs=tuple(
            _pair(PairedRuns(first, run), letters[0], letter) for run, letter in zip(runs[1:], letters[1:], strict=True)
        ),
    )


def _check_same(first: Run, other: Run) -> None:
    """Images are compared one by one, so they must be the same."""
    one, two = (run.facts["data_sha256"] for run in (first, other))
    if one != two:
        raise InputError(
            f"{first.path} and {other.path} were measured on different images or labels (data_sha256 {one[:8]} and "
            f"{two[:8]}), and images are compared one by one. Audit both models on the same data, with the same "
            "--limit."
        )
    if first.classes != other.classes:
        raise InputError(
            f"{first.path} and {other.path} have different classes or another order of them: {_some(first)} and "
            f"{_some(other)}. Give both models the same class names in the same order, and audit again."
        )
    if not set(first.rows("clean")["sample_id"]) & set(other.rows("clean")["sample_id"]):
        raise InputError(
            f"{first.path} and {other.path} call the same images by other names, so that none can be found in both. "
            "Audit both models on the same data address."
        )


def _some(run: Run) -> str:
    return ", ".join(run.classes[:3]) + (", …" if len(run.classes) > 3 else "")


def _letter(at: int) -> str:
    return chr(ord("A") + at) if at < 26 else f"run {at + 1}"


def _row(run: Run, letter: str) -> RunRow:
    facts = {name: run.facts[name] for name in ("model", "model_sha256", "plan_sha256")}
    return RunRow(letter=letter, path=str(run.path), **facts)


def _pair(pair: PairedRuns, first: str, second: str) -> ModelPair:
    accuracy = shares(pair.join("clean", lambda _, rows: ~wrong(rows)))
    searches = tuple(_search(pair, one, other, first, second) for one, other in _comparable(pair))
    robust = tuple(_robust_accuracy(pair, one) for one, _ in pair.common(ensembles))
    said = [
        _more_often(accuracy, first, second),
        *(f"{found.verdict[:-1]} ({found.condition})." for found in searches[:1]),
    ]
    return ModelPair(
        first=first,
        second=second,
        accuracy=accuracy,
        robust_accuracy=robust,
        searches=searches,
        notes=tuple(_notes(pair, first, second, searches)),
        verdict=" ".join(said),
    )


def _comparable(pair: PairedRuns) -> Iterator[tuple[Entry, Entry]]:
    """Sizes in other norms than L∞ grow with the number of pixels."""
    same_shape = _shape(pair.first) == _shape(pair.second)
    return (
        (one, other)
        for one, other in pair.common(perturbation_searches)
        if same_shape or one["norm"] == _COMPARABLE_NORM
    )


def _shape(run: Run) -> str:
    return "×".join(map(str, run.facts["input_shape"]))


def _attacks(run: Run) -> Iterator[Entry]:
    return iter((*run.conditions("attack"), *run.conditions("epsilon")))


def _robust_accuracy(pair: PairedRuns, one: Entry) -> RobustAccuracyPair:
    """By the attacks that were run on both models, so that none is tried harder than the other."""
    shared = {entry["name"] for entry, _ in pair.common(_attacks)}
    rows = pair.join(
        one["name"], lambda run, rows: least_distances(run, one["norm"], rows, shared) > edge(one["severity"])
    )
    facts = {name: one[name] for name in ("sentence", "norm")}
    return RobustAccuracyPair(condition=one["name"], eps=one["severity"], shares=shares(rows), **facts)


def _search(pair: PairedRuns, one: Entry, other: Entry, first: str, second: str) -> SearchPair:
    rows = pair.join(one["name"], row_perturbations)
    cap = min((each["cap"] for each in (one, other) if each.get("cap") is not None), default=None)
    every = paired_perturbations(rows, cap)
    better = _better(every.p_value, every.second_larger - every.first_larger)
    return SearchPair(
        condition=one["name"],
        sentence=one["sentence"],
        norm=one["norm"],
        cap=float("nan") if cap is None else cap,
        all_images=every,
        correct_images=paired_perturbations(rows.filter((pl.col("first") > 0) & (pl.col("second") > 0)), cap),
        per_class=class_perturbations(rows, cap, pair.first.classes),
        better=better,
        verdict=_resists(every, better, first, second),
    )


def _better(p_value: float, lead: int) -> Literal["first", "second"] | None:
    if p_value > _LEVEL:
        return None
    return "second" if lead > 0 else "first"


def _resists(found: PerturbationPair, better: Literal["first", "second"] | None, first: str, second: str) -> str:
    sides = {first: found.first_larger, second: found.second_larger}
    if better is None:
        counts = f"{first}'s change is the larger on {sides[first]:,}, {second}'s on {sides[second]:,}"
        return f"Neither resists better by more than noise: of {found.n:,} images {counts}, {by_chance(found.p_value)}."
    winner, loser = (first, second) if better == "first" else (second, first)
    return (
        f"{winner} resists better: it takes a larger change on {sides[winner]:,} of {found.n:,} images, a smaller one "
        f"on {sides[loser]:,}, {by_chance(found.p_value)}."
    )


def _more_often(found: Shares, first: str, second: str) -> str:
    counts = f"{first} alone on {found.only_first:,} of {found.n:,} images, {second} alone on {found.only_second:,}"
    better = _better(found.p_value, found.only_second - found.only_first)
    if better is None:
        return f"Neither is right more often by more than noise: {counts}, {by_chance(found.p_value)}."
    return f"{first if better == 'first' else second} is right more often: {counts}, {by_chance(found.p_value)}."


def _notes(pair: PairedRuns, first: str, second: str, searches: tuple[SearchPair, ...]) -> Iterator[str]:
    one, other = pair.first, pair.second
    if one.facts["model_sha256"] == other.facts["model_sha256"]:
        yield f"{first} and {second} are the same model, to the last weight."
    if _shape(one) != _shape(other):
        yield (f"{first} takes images of {_shape(one)}, {second} of {_shape(other)}: only sizes in L∞ can be compared.")
    if not searches:
        yield "No search for minimal perturbations is in both: give both plans the same [epsilon] or ensemble."
