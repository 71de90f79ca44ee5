"""What is taken for what: the whole confusion matrix of few classes, and of any number its most frequent pairs."""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from demur.analysis.quantity import Quantity, Table
from demur.analysis.run_folder import Run
from demur.metrics import proportion
from demur.records import groups, wrong

MANY = 50
"""With more classes nothing is listed for each pair of them."""

_PAIRS = 40
_ANSWERS = 3


class ConfusionPair(Table):
    """How many clean held-out images of one class are taken for another, and what share of its images that is.

    Intervals hold for all pairs of classes at once, so that the pair which looks worst is judged by its own.
    """

    label: str
    predicted: str
    n: int
    share: Quantity


class Confusions(Table):
    """The most frequent pairs, at most 40 of `kinds`: of `n` images `errors` are wrong, `rest` in none of these.

    Pairs that a single image is of are not listed: where there are many classes any of them may be.
    """

    n: int
    errors: int
    kinds: int
    pairs: tuple[ConfusionPair, ...]
    rest: int


class Answer(Table):
    """How many of some images were given a wrong answer."""

    name: str
    n: int


def confusion(run: Run) -> tuple[tuple[int, ...], ...]:
    """Counts of clean held-out rows, one row per label and one column per prediction; empty above 50 classes."""
    rows, size = run.rows("clean"), len(run.classes)
    if size > MANY:
        return ()
    counts = np.zeros((size, size), dtype=int)
    np.add.at(counts, (rows["label"].to_numpy(), rows["predicted"].to_numpy()), 1)
    return tuple(tuple(int(count) for count in row) for row in counts)


def confusion_counts(rows: pl.DataFrame) -> pl.DataFrame:
    """How many rows there are of each label and prediction, in their order; pairs without rows are left out."""
    return rows.group_by("label", "predicted").agg(count=pl.len()).sort("label", "predicted")


def confusions(run: Run) -> Confusions:
    """The most frequent confusions of clean held-out images."""
    rows = run.rows("clean")
    found = confusion_counts(rows.filter(wrong(rows)))
    listed = found.sort("count", "label", "predicted", descending=[True, False, False])
    listed = listed.filter(pl.col("count") > 1).head(_PAIRS)
    errors = int(wrong(rows).sum())
    return Confusions(
        n=len(rows),
        errors=errors,
        kinds=len(found),
        pairs=tuple(_pair(run, rows, label, answer, count) for label, answer, count in listed.rows()),
        rest=errors - int(listed["count"].sum()),
    )


def _pair(run: Run, rows: pl.DataFrame, label: int, answer: int, count: int) -> ConfusionPair:
    own, size = rows.filter(pl.col("label") == label), len(run.classes)
    taken = (own["predicted"] == answer).to_numpy()
    share = proportion(taken, groups(own), several=size * (size - 1))
    return ConfusionPair(label=run.classes[label], predicted=run.classes[answer], n=count, share=Quantity.of(share))


def wrong_answers(run: Run, answers: NDArray[np.integer[Any]]) -> tuple[Answer, ...]:
    """The three most frequent of wrong answers, by number, the most frequent first."""
    names, counts = np.unique(answers, return_counts=True)
    listed = np.argsort(-counts, kind="stable")[:_ANSWERS]
    return tuple(Answer(name=run.classes[names[at]], n=int(counts[at])) for at in listed)
