"""Tables with a line per image, threshold or pair of classes, from the records: too long for `results.json`."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from demur.analysis.accuracy.confusions import confusion_counts
from demur.analysis.robustness.guarded_rows import guarded_rows
from demur.analysis.robustness.least_distances import minimal_perturbation
from demur.analysis.run_folder import Run, score
from demur.analysis.signals.class_profiles import silent_errors
from demur.metrics import risk_coverage
from demur.records import wrong

_MINIMAL = "epsilon.minimal"


def image_tables(run: Run) -> Iterator[tuple[str, pl.DataFrame]]:
    """Each by the name of its file; those without a line are left out."""
    for name, table in (
        ("risk-coverage", _risk_coverage(run)),
        ("confusion", _confusion(run)),
        ("flips", _flips(run)),
        ("minimal-perturbations", _minimal_perturbations(run)),
        ("guard-attack-images", _guard_attack(run)),
        ("silent-errors", _named(run, _stacked(list(silent_errors(run))), "label", "predicted")),
    ):
        if len(table):
            yield f"{name}.csv", table


def _risk_coverage(run: Run) -> pl.DataFrame:
    """Every threshold of every signal over clean test rows: what is answered where uncertainty ≤ threshold."""
    test = run.rows("clean", "test")
    tables = []
    for name in run.signals if len(test) else ():
        curve = risk_coverage(score(test, name), wrong(test), len(test))
        answers = np.rint(curve.coverage * len(test)).astype(np.int64)
        columns = {
            "signal": [name] * len(curve),
            "threshold": curve.threshold,
            "coverage": curve.coverage,
            "risk": curve.risk,
            "answers": answers,
            "wrong_answers": np.rint(curve.risk * answers).astype(np.int64),
        }
        tables.append(pl.DataFrame(columns))
    return _stacked(tables)


def _confusion(run: Run) -> pl.DataFrame:
    """How many images of a class were given an answer, under each condition; pairs that no image is of are left out."""
    tables = [
        _named(run, confusion_counts(run.rows(entry["name"])), "label", "predicted").with_columns(
            condition=pl.lit(entry["name"])
        )
        for entry in run.conditions()
    ]
    return _stacked([table.select("condition", "label", "predicted", "count") for table in tables])


def _flips(run: Run) -> pl.DataFrame:
    """Every image whose answer under an attack or a corruption is not the one it is given as it is."""
    clean = run.rows("clean").select("sample_id", clean_answer="predicted")
    tables = []
    for entry in run.conditions():
        rows = run.rows(entry["name"]).select("sample_id", "split", "label", answer="predicted")
        joined = rows.join(clean, on="sample_id", maintain_order="left")
        other = joined.filter(pl.col("answer") != pl.col("clean_answer")).with_columns(condition=pl.lit(entry["name"]))
        tables.append(other.select("sample_id", "split", "label", "clean_answer", "condition", "answer"))
    return _named(run, _stacked(tables), "label", "clean_answer", "answer")


def _minimal_perturbations(run: Run) -> pl.DataFrame:
    """What each search found, image by image."""
    return _stacked([_sizes(run, entry) for kind in ("epsilon", "attack") for entry in run.conditions(kind)])


def _sizes(run: Run, entry: Mapping[str, Any]) -> pl.DataFrame:
    """Of one search; sizes are fractions of the pixel range [0, 1], empty where nothing flipped the answer."""
    rows = run.rows(entry["name"])
    rows = rows.filter(pl.col(_MINIMAL).is_not_null() | pl.col("epsilon.censored").fill_null(False))  # noqa: FBT003
    sizes = minimal_perturbation(rows)
    table = rows.select("sample_id", "label", "predicted").with_columns(
        search=pl.lit(entry["name"]),
        norm=pl.lit(entry["norm"]),
        size_of_pixel_range=pl.Series(np.where(np.isfinite(sizes), sizes, np.nan)).fill_nan(None),
        wrong_already=pl.Series(sizes == 0),
        never_flipped=pl.Series(np.isinf(sizes)),
    )
    return _named(run, table, "label", "predicted")


def _guard_attack(run: Run) -> pl.DataFrame:
    """What each attacker of the guard left of each image: the answer, whether it is given, its scores and distance."""
    shown = pl.col(r"^(sample_id|label|predicted|distance\.linf|forwards|backwards|signal\..*)$")
    tables = [
        points.select(shown).with_columns(
            eps=pl.lit(each.eps),
            attacker=pl.lit(name),
            accepted=pl.Series(run.accepts(run.guard, points), dtype=pl.Boolean),
            wrong=pl.Series(wrong(points), dtype=pl.Boolean),
        )
        for each in guarded_rows(run)
        for name, points in {**each.attackers, "confidence": each.confidence}.items()
        if run.guard is not None
    ]
    return _named(run, _stacked(tables), "label", "predicted")


def _stacked(tables: list[pl.DataFrame]) -> pl.DataFrame:
    """Tables below one another, empty ones left out."""
    return pl.concat([table for table in tables if len(table)] or [pl.DataFrame()])


def _named(run: Run, table: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """Class numbers as names."""
    names = pl.Series(run.classes, dtype=pl.String())
    found = [column for column in columns if column in table.columns]
    return table.with_columns(**{column: names.gather(table[column]) for column in found})
