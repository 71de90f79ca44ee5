"""Which images a reader may want to see behind a number: errors, cells, bins, and what a condition did."""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import polars as pl

from demur.pipeline.job import IndexRows

MOST_CLEAN, MOST_CHANGED = 640, 320
"""Pictures kept of clean images and of changed ones."""

_OF_CLASS, _CLASS_ERRORS = 10, 300
_OF_CELL, _CELL_ERRORS = 4, 140
_OF_BIN, _BINS = 3, 40
_OF_RIGHT, _RIGHT = 2, 80
_FEWEST_CHANGED, _MOST_CHANGED = 2, 8
_LARGE_CLASS = 20
SURE = "signal.msp"


def clean_choice(clean: pl.DataFrame, order: Sequence[int] | IndexRows) -> list[int]:
    """Rows of the clean table to keep pictures of, at most 640 of them whatever the number of classes.

    The ten most confident errors of each class, the class with the most errors first; the most confident errors of each
    cell of the confusion matrix, the fullest cell first; images of every bin of the score, right and wrong; and right
    answers of every class. Where confidence does not order them the hash of their contents does.

    Args:
        clean: the clean rows of a run; those with an error are never chosen.
        order: every row, in the order of the hashes of their contents.
    """
    rows = clean.with_row_index("row").with_columns(wrong=pl.col("predicted") != pl.col("label"))
    rows = rows[np.asarray(order)].filter(pl.col("error").is_null())
    errors = rows.filter(pl.col("wrong")).sort(SURE, maintain_order=True)
    chosen = [
        *islice(_of_classes(rows, errors), _CLASS_ERRORS),
        *islice(_of_cells(errors), _CELL_ERRORS),
        *_of_bins(rows),
        *islice(_firsts(rows.filter(~pl.col("wrong")), ("label",), _OF_RIGHT), _RIGHT),
    ]
    return list(dict.fromkeys(chosen))[:MOST_CLEAN]


def changed_choice(clean: pl.DataFrame, changed: pl.DataFrame, count: int) -> list[str]:
    """Sample ids whose answer a condition turned from right to wrong, the most confident of the wrong ones first."""
    right = clean.filter(pl.col("error").is_null() & (pl.col("predicted") == pl.col("label"))).select("sample_id")
    flipped = changed.filter(pl.col("error").is_null() & (pl.col("predicted") != pl.col("label")))
    return flipped.join(right, on="sample_id", how="semi").sort(SURE, "sample_id")["sample_id"].head(count).to_list()


def answered_choice(unknown: pl.DataFrame, count: int) -> list[str]:
    """Sample ids of images of none of the classes that the model is most sure of."""
    return unknown.filter(pl.col("error").is_null()).sort(SURE, "sample_id")["sample_id"].head(count).to_list()


def pictures_each(conditions: int) -> int:
    """How many pictures each of so many conditions may have; none where there are too many of them."""
    each = min(_MOST_CHANGED, MOST_CHANGED // max(1, conditions))
    return each if each >= _FEWEST_CHANGED else 0


def _of_classes(rows: pl.DataFrame, errors: pl.DataFrame) -> Iterator[int]:
    """The surest errors of each class; classes of fewer than 20 images come last."""
    shares = rows.group_by("label").agg(share=pl.col("wrong").mean(), small=pl.len() < _LARGE_CLASS)
    for label in shares.sort("small", -pl.col("share"), "label")["label"]:
        yield from errors.filter(pl.col("label") == label)["row"].head(_OF_CLASS)


def _of_cells(errors: pl.DataFrame) -> Iterator[int]:
    cells = errors.group_by("label", "predicted").agg(pl.len(), pl.col("row").head(_OF_CELL))
    for kept in cells.sort(-pl.col("len").cast(pl.Int64), "label", "predicted")["row"]:
        yield from kept


def _of_bins(rows: pl.DataFrame) -> Iterator[int]:
    """Right and wrong answers from everywhere on the scale of the score, in bins of equal width."""
    scores = rows[SURE]
    low, high = float(scores.min() or 0.0), float(scores.max() or 0.0)  # type: ignore[arg-type]
    width = (high - low) / _BINS or 1.0
    binned = rows.with_columns(bin=((pl.col(SURE) - low) / width).floor().clip(0, _BINS - 1))
    yield from _firsts(binned, ("wrong", "bin"), _OF_BIN)


def _firsts(rows: pl.DataFrame, by: Sequence[str], count: int) -> Iterator[int]:
    """The first so many rows of each group, one round of all groups after another."""
    kept = rows.with_columns(turn=pl.int_range(pl.len()).over(by)).filter(pl.col("turn") < count)
    yield from kept.sort("turn", *by, maintain_order=True)["row"]
