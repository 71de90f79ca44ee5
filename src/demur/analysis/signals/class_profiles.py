"""What the feature maps of each class say of right and of wrong answers, and the confident errors they give away."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from demur.analysis.quantity import Number, Quantity, Table
from demur.analysis.row_means import mean_over, values
from demur.analysis.run_folder import BASELINE, Flags, Floats, Run, score, share
from demur.analysis.signals.attack_detection import is_below
from demur.metrics.delong import auroc_interval
from demur.records import PART, groups, wrong

ADDED = "class_maps"
"""The part that holds what the maps of the class answered add, in standard deviations of its right answers."""

SURE = 0.9
"""A confident answer states more than this."""

LOW = 0.1
"""The share of right answers whose maps add less than the limit."""

SHOWN = 50
"""As many silent errors, and as many classes, are in the results; the files have all."""


class SilentError(Table):
    """A wrong answer that was sure of itself although the maps of the class it names add little."""

    sample_id: str
    label: str
    predicted: str
    confidence: float
    class_maps: float


class ClassProfile(Table):
    """One class as it is answered: what its maps add to right and to wrong answers.

    `right` and `wrong` are means over test rows of what they add together, in standard deviations of right answers of
    the reference. `maps` are the maps, strongest first, `right_added` and `wrong_added` what each adds on average to
    right and to wrong answers of the reference, in logits, over `right_answers` and `wrong_answers` of them; null where
    there was none, or where the audit did not count them.
    """

    name: str
    right: Quantity
    wrong: Quantity
    maps: tuple[int, ...]
    right_added: tuple[Number, ...]
    wrong_added: tuple[Number, ...]
    right_answers: int | None
    wrong_answers: int | None


class ClassMapTable(Table):
    """The class maps of one signal, on test rows.

    `auroc`: how well low maps alone tell errors. `low` is the limit below which the maps add little, the 10th
    percentile of right answers, null without any. Of confident answers, those above .9, `wrong_below` and
    `right_below` are the shares of wrong and of right ones below it; the former are the silent errors, `silent_errors`
    of them, of which the surest are listed. `finds_errors`: the former share is larger, beyond chance. `unmeasured`
    test images are left out, for the class they were answered with has too few right answers on the fit split.
    """

    signal: str
    layers: tuple[str, ...]
    auroc: Quantity
    low: float | None
    wrong_below: Quantity
    right_below: Quantity
    finds_errors: bool
    silent_errors: int
    unmeasured: int
    errors: tuple[SilentError, ...]
    classes: tuple[ClassProfile, ...]
    classes_left_out: int = 0


def class_map_tables(run: Run) -> tuple[ClassMapTable, ...]:
    """One for each signal that has class maps; none in runs whose audit kept none."""
    rows = run.unfitted_rows()
    facts = {entry["name"]: entry["facts"] for entry in run.optional_facts("signals") or ()}
    return tuple(_table(run, rows, name, facts[name]) for name in _mapped(run, rows) if ADDED in facts.get(name, {}))


def silent_errors(run: Run) -> Iterator[pl.DataFrame]:
    """All silent errors of each signal, a line each, the surest first."""
    rows = run.unfitted_rows()
    for name in _mapped(run, rows):
        found = _silent(rows, _added(rows, name))
        if len(found):
            yield found.with_columns(signal=pl.lit(name)).select("signal", *_COLUMNS)


_COLUMNS = ("sample_id", "label", "predicted", "confidence", ADDED)


def _mapped(run: Run, rows: pl.DataFrame) -> list[str]:
    """The signals whose class maps were kept."""
    if BASELINE not in run.signals:
        return []
    return [name for name in run.signals if f"{PART}{name}.{ADDED}" in rows.columns]


def _added(rows: pl.DataFrame, name: str) -> Floats:
    return values(rows, f"{PART}{name}.{ADDED}")


def _table(run: Run, rows: pl.DataFrame, name: str, facts: Mapping[str, Any]) -> ClassMapTable:
    added, sure, failed = _added(rows, name), _confidence(rows) > SURE, wrong(rows)
    low = _limit(added, failed)
    below = added < low
    silent = _silent(rows, added)
    told = np.isfinite(added)
    units = groups(rows.filter(told))
    profiles = _profiles(run, rows, added, facts[ADDED])
    caught, lost = (_share(below, rows, told & sure & kind) for kind in (failed, ~failed))
    return ClassMapTable(
        signal=name,
        layers=tuple(facts.get("layers", ())),
        auroc=Quantity.of(auroc_interval(-added[told], failed[told], units)),
        low=None if np.isnan(low) else low,
        wrong_below=caught,
        right_below=lost,
        finds_errors=is_below(lost, caught),
        silent_errors=len(silent),
        unmeasured=int((~told).sum()),
        errors=tuple(_silent_error(run, row) for row in silent.head(SHOWN).iter_rows(named=True)),
        classes=profiles[:SHOWN],
        classes_left_out=max(0, len(profiles) - SHOWN),
    )


def _confidence(rows: pl.DataFrame) -> Floats:
    return 1 - score(rows, BASELINE)


def _limit(added: Floats, failed: Flags) -> float:
    """What the maps of nine in ten right answers add at least; NaN without any."""
    right = added[np.isfinite(added) & ~failed]
    return float(np.quantile(right, LOW)) if len(right) else float("nan")


def _silent(rows: pl.DataFrame, added: Floats) -> pl.DataFrame:
    """Confident errors whose maps add less than the limit, the surest first."""
    failed, confidence = wrong(rows), _confidence(rows)
    chosen = (confidence > SURE) & failed & (added < _limit(added, failed))
    table = rows.select("sample_id", "label", "predicted").with_columns(
        confidence=pl.Series(confidence), class_maps=pl.Series(added)
    )
    return table.filter(chosen).sort("confidence", "sample_id", descending=[True, False])


def _share(below: Flags, rows: pl.DataFrame, chosen: Flags) -> Quantity:
    return share(below[chosen], rows.filter(chosen))


def _silent_error(run: Run, row: Mapping[str, Any]) -> SilentError:
    names = {key: run.classes[row[key]] for key in ("label", "predicted")}
    return SilentError(**{**row, **names})


def _profiles(run: Run, rows: pl.DataFrame, added: Floats, facts: Mapping[str, Any]) -> tuple[ClassProfile, ...]:
    """Every class, in the order of the labels; of many those first whose wrong answers are most."""
    failed, answers = wrong(rows), rows["predicted"].to_numpy()
    found = []
    for label, name in enumerate(run.classes):
        of_class = answers == label
        right, failures = (_mean(added, rows, of_class & kind) for kind in (~failed, failed))
        found.append(ClassProfile(name=name, right=right, wrong=failures, **_of_reference(facts, label)))
    if len(found) > SHOWN:
        found.sort(key=lambda row: -row.wrong.n)
    return tuple(found)


def _mean(added: Floats, rows: pl.DataFrame, chosen: Flags) -> Quantity:
    """Over the chosen rows that were measured; what was not has no spread to be measured in."""
    found = chosen & np.isfinite(added)
    mean = mean_over(added[found], rows.filter(found))
    return mean if found.any() or not chosen.any() else mean.model_copy(update={"reason": _NO_SPREAD})


_NO_SPREAD = "too few right answers on the fit split"


def _of_reference(facts: Mapping[str, Any], label: int) -> dict[str, Any]:
    """What the fitting said of a class; −1 stands for no map."""
    maps = [at for at in facts["maps"][label] if at >= 0]
    counts: Sequence[int] | None = facts.get("answers", [None] * (label + 1))[label]
    return {
        "maps": tuple(maps),
        "right_added": tuple(facts["right"][label][: len(maps)]),
        "wrong_added": tuple(facts["wrong"][label][: len(maps)]),
        "right_answers": None if counts is None else counts[0],
        "wrong_answers": None if counts is None else counts[1],
    }
