"""Runs of several models on the same images, each compared with the first, image by image."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import polars as pl

from demur.analysis.comparison.class_changes import class_changes
from demur.analysis.comparison.hardening import hardening, measurement, voided
from demur.analysis.comparison.joined_runs import Runs, missing
from demur.analysis.comparison.model_costs import costs
from demur.analysis.comparison.overlaid_curves import risk_curves, standing_curves
from demur.analysis.comparison.phases import Difference, Phase, difference_count, phases
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
from demur.analysis.verdict.checks import checks
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
    runs = {_letter(at): open_run(Path(path)) for at, path in enumerate(paths)}
    first = next(iter(runs.values()))
    for run in [*runs.values()][1:]:
        _check_same(first, run)
    found = phases(runs)
    measured = tuple(measurement(letter, checks(run)) for letter, run in runs.items())
    return Comparison(
        data=first.facts["data"],
        data_sha256=first.facts["data_sha256"],
        classes=first.classes,
        runs=tuple(_row(run, letter) for letter, run in runs.items()),
        hardening=hardening(found, measured, difference_count(found)),
        measurements=measured,
        phases=voided(found, measured),
        tested=difference_count(found),
        costs=costs(runs),
        class_changes=class_changes(runs, first.classes),
        standing=tuple(standing_curves(runs)),
        risks=risk_curves(runs),
        lacking=tuple(_lacking(runs)),
        pairs=tuple(_pairs(runs, found)),
    )


def _pairs(runs: Runs, found: tuple[Phase, ...]) -> Iterator[ModelPair]:
    """Every run but the first with it; the verdicts are corrected for the number of searches or phases of all."""
    (first, one), *later = runs.items()
    paired = {letter: PairedRuns(one, run) for letter, run in later}
    several = sum(len([*_comparable(pair)]) for pair in paired.values())
    clean = next(phase for phase in found if phase.kind == "clean")
    for letter, pair in paired.items():
        difference = clean.difference(letter)
        if difference is not None:
            yield _pair(pair, first, letter, difference, several)


def _lacking(runs: Runs) -> Iterator[str]:
    """Which runs lack what: each set of runs once."""
    lists: dict[tuple[str, ...], list[str]] = {}
    for name, without in missing(runs, ("attack", "corruption", "epsilon")):
        lists.setdefault(without, []).append(name)
    for without, names in lists.items():
        yield f"{' and '.join(without)} did not measure {', '.join(names)}."


def _check_same(first: Run, other: Run) -> None:
    """Images are compared one by one, so they must be the same."""
    if first.classes != other.classes:
        raise InputError(
            f"{first.path} and {other.path} have different classes or another order of them: {_some(first)} and "
            f"{_some(other)}. Give both models the same class names in the same order, and audit again."
        )
    one, two = (run.facts["data_sha256"] for run in (first, other))
    if one != two:
        raise InputError(
            f"{first.path} and {other.path} were measured on different images or labels (data_sha256 {one[:8]} and "
            f"{two[:8]}), and images are compared one by one. Audit both models on the same data, with the same "
            "--limit."
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


def _pair(pair: PairedRuns, first: str, second: str, clean: Difference, several: int) -> ModelPair:
    accuracy = shares(pair.join("clean", lambda _, rows: ~wrong(rows)))
    searches = tuple(_search(pair, one, other, (first, second), several) for one, other in _comparable(pair))
    robust = tuple(_robust_accuracy(pair, one) for one, _ in pair.common(ensembles))
    said = [
        _more_often(accuracy, clean, first, second),
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


def _search(pair: PairedRuns, one: Entry, other: Entry, letters: tuple[str, str], several: int) -> SearchPair:
    rows = pair.join(one["name"], row_perturbations)
    cap = min((each["cap"] for each in (one, other) if each.get("cap") is not None), default=None)
    every = paired_perturbations(rows, cap)
    p_value = min(1.0, every.p_value * several)
    better = _better(p_value, every.second_larger - every.first_larger)
    return SearchPair(
        condition=one["name"],
        sentence=one["sentence"],
        norm=one["norm"],
        cap=float("nan") if cap is None else cap,
        all_images=every,
        correct_images=paired_perturbations(rows.filter((pl.col("first") > 0) & (pl.col("second") > 0)), cap),
        per_class=class_perturbations(rows, cap, pair.first.classes),
        better=better,
        verdict=_resists(every, p_value, better, *letters),
    )


def _better(p_value: float, lead: int) -> Literal["first", "second"] | None:
    if p_value > _LEVEL:
        return None
    return "second" if lead > 0 else "first"


def _resists(
    found: PerturbationPair, p_value: float, better: Literal["first", "second"] | None, first: str, second: str
) -> str:
    sides = {first: found.first_larger, second: found.second_larger}
    if better is None:
        counts = f"{first}'s change is the larger on {sides[first]:,}, {second}'s on {sides[second]:,}"
        return f"Neither resists better by more than noise: of {found.n:,} images {counts}, {by_chance(p_value)}."
    winner, loser = (first, second) if better == "first" else (second, first)
    return (
        f"{winner} resists better: it takes a larger change on {sides[winner]:,} of {found.n:,} images, a smaller one "
        f"on {sides[loser]:,}, {by_chance(p_value)}."
    )


def _more_often(found: Shares, clean: Difference, first: str, second: str) -> str:
    """As the phase of clean images says, which is corrected for the number of phases."""
    counts = f"{first} alone on {found.only_first:,} of {found.n:,} images, {second} alone on {found.only_second:,}"
    if clean.outcome == "noise":
        return f"Neither is right more often by more than noise: {counts}, {by_chance(clean.p_value)}."
    return (
        f"{second if clean.outcome == 'better' else first} is right more often: {counts}, {by_chance(clean.p_value)}."
    )


def _notes(pair: PairedRuns, first: str, second: str, searches: tuple[SearchPair, ...]) -> Iterator[str]:
    one, other = pair.first, pair.second
    if one.facts["model_sha256"] == other.facts["model_sha256"]:
        yield f"{first} and {second} are the same model, to the last weight."
    if _shape(one) != _shape(other):
        yield (f"{first} takes images of {_shape(one)}, {second} of {_shape(other)}: only sizes in L∞ can be compared.")
    if not searches:
        yield "No search for minimal perturbations is in both: give both plans the same [epsilon] or ensemble."
