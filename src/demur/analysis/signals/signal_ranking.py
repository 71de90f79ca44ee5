"""How well each signal ranks errors, attacks and shift (AUROC and its kin), and what it costs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from demur.analysis.quantity import Quantity, Table
from demur.analysis.run_folder import Floats, Run, score
from demur.analysis.signals.ranking_targets import (
    Contest,
    Gain,
    Target,
    TargetName,
    contest,
    simultaneous_gains,
    targets,
)
from demur.metrics import Estimate
from demur.metrics.ranking_intervals import coverage_at_risk_interval, fpr95_interval, ranking_intervals


class TargetRow(Table):
    """How well one signal finds one target; `gain` is its AUROC minus that of msp on the same rows, paired.

    `corrected_gain` is the same gain with a simultaneous interval over all signals compared; `beats` says that it lies
    above 0. Both are null for the baseline and for signals that rank as an earlier one does. `usable` says whether a
    threshold that catches 95 % of the positives refuses at most half of the negatives (`fpr95`): true or false where
    its whole interval does, null where that is open.
    """

    target: TargetName
    positives: int
    negatives: int
    auroc: Quantity
    gain: Quantity | None
    augrc: Quantity | None
    aurc: Quantity | None
    aupr: Quantity | None
    fpr95: Quantity | None
    coverage_at_risk: Quantity | None
    corrected_gain: Quantity | None = None
    beats: bool | None = None
    usable: bool | None = None
    eaurc: Quantity | None = None


class SignalRow(Table):
    """One signal against every target. AURC, E-AURC and AUGRC belong to the error target only.

    `fit_images` is the number of images a fitted signal learned from, null for others; it is scored on test rows only.
    `ranks_as` names an earlier signal that puts all rows in the same order. `passes` and `milliseconds` are the cost
    of an image beyond the forward pass that all signals share; times were taken on one batch, null where none were.
    """

    name: str
    sentence: str
    unit: str
    targets: tuple[TargetRow, ...]
    fit_images: int | None = None
    ranks_as: str | None = None
    passes: float = 0.0
    milliseconds: float | None = None


def signal_rows(run: Run, risk: float) -> tuple[tuple[SignalRow, ...], tuple[Contest, ...]]:
    """Every signal against every target the run has rows for, and who beats the baseline there.

    Fitted signals are scored on test rows only, others on all held-out rows.
    """
    entries, found = run.facts["signals"], tuple(targets(run))
    alike = _alike(run.signals, found)
    columns, contests = [], []
    for target in found:
        gains = {
            entry["name"]: Gain.of(target, entry["name"], run.baseline, fitted=_fitted(entry))
            for entry in entries
            if entry["name"] != run.baseline
        }
        corrected = simultaneous_gains({name: gain for name, gain in gains.items() if name not in alike})
        areas = {entry["name"]: _area(target, entry) for entry in entries}
        columns.append([_row(target, entry, risk, gains, corrected, areas) for entry in entries])
        usable = {entry["name"]: row.usable for entry, row in zip(entries, columns[-1], strict=True)}
        contests.append(contest(target, corrected, areas, usable))
    times = _milliseconds(run)
    rows = tuple(
        SignalRow(
            name=entry["name"],
            sentence=entry["sentence"],
            unit=entry["unit"],
            targets=tuple(column[place] for column in columns),
            fit_images=entry["bank"]["rows"] if _fitted(entry) else None,
            ranks_as=alike.get(entry["name"]),
            passes=entry.get("passes", 0.0),
            milliseconds=times.get(entry["name"]),
        )
        for place, entry in enumerate(entries)
    )
    return rows, tuple(contests)


def _fitted(entry: Mapping[str, Any]) -> bool:
    return "bank" in entry


def _scored(target: Target, entry: Mapping[str, Any]) -> Target:
    """The rows of a target that a signal is scored on."""
    return target.held_back if _fitted(entry) else target


def _area(target: Target, entry: Mapping[str, Any]) -> Estimate:
    return _scored(target, entry).rankings[entry["name"]].area


def _row(
    target: Target,
    entry: Mapping[str, Any],
    risk: float,
    gains: Mapping[str, Gain],
    corrected: Mapping[str, Estimate],
    areas: Mapping[str, Estimate],
) -> TargetRow:
    name, part = entry["name"], _scored(target, entry)
    positive = part.positive
    found = _metrics(part.alike, name, risk)
    gain = gains.get(name)
    told = corrected.get(name)
    return TargetRow(
        target=part.name,
        positives=int(positive.sum()),
        negatives=int((~positive).sum()),
        auroc=part.quantity(areas[name]),
        gain=None if gain is None else part.quantity(gain.estimate),
        corrected_gain=None if told is None else part.quantity(told),
        beats=None if told is None or np.isnan(told.low) else bool(told.low > 0),
        usable=_is_usable(found["fpr95"]),
        **{metric: part.quantity(found[metric]) if metric in found else None for metric in _RESAMPLED},
    )


USABLE = 0.5
"""The largest share of right answers, or clean images, that a usable signal refuses to catch 95 % of the rest."""


def _is_usable(refused: Estimate) -> bool | None:
    if refused.high <= USABLE:
        return True
    return False if refused.low > USABLE else None


_RESAMPLED = ("augrc", "aurc", "eaurc", "aupr", "fpr95", "coverage_at_risk")


def _metrics(target: Target, signal: str, risk: float) -> Mapping[str, Estimate]:
    """AUGRC, (E-)AURC and coverage at risk speak of answers, so of the error target only."""
    ours = score(target.rows, signal), target.positive, target.units
    found = {"fpr95": fpr95_interval(*ours)}
    if target.name == "shift":
        return found
    names = ("aupr", "augrc", "aurc", "eaurc") if target.name == "error" else ("aupr",)
    found |= ranking_intervals(names, *ours)
    return (
        found | {"coverage_at_risk": coverage_at_risk_interval(*ours, risk=risk)} if target.name == "error" else found
    )


def _alike(names: Sequence[str], found: Sequence[Target]) -> dict[str, str]:
    """Signal → the first one that puts the rows of all targets in the same order as it does."""
    ranks = {name: _ranks(np.concatenate([score(target.rows, name) for target in found])) for name in names}
    alike: dict[str, str] = {}
    for place, name in enumerate(names):
        same = (other for other in names[:place] if other not in alike and _same(ranks[other], ranks[name]))
        first = next(same, None)
        if first is not None:
            alike[name] = first
    return alike


def _ranks(scores: Floats) -> Floats:
    return np.asarray(rankdata(scores), np.float64)


def _same(ours: Floats, theirs: Floats) -> bool:
    """Rounding may tie or swap two neighbours."""
    return len(ours) > 1 and bool(np.abs(ours - theirs).max() <= 1)


def _milliseconds(run: Run) -> Mapping[str, float]:
    """What each signal took for an image; nothing where no times were kept."""
    times = run.optional_file("timings/signals.json") or {"signals": {}}
    return {name: 1000 * seconds for name, seconds in times["signals"].items()}
