"""The points an attack left: images, and one record row for each."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from demur.audit.attacked import attacked
from demur.audit.conditions import Condition
from demur.audit.engine import Bench
from demur.audit.known import known
from demur.audit.rows import Shown, table
from demur.classifier import Classifier
from demur.randomness import Keys
from demur.records import wrong
from demur.shapes import Images, Logits

Flags = NDArray[np.bool_]
Rows = NDArray[np.int64]

MEASURED = ("linf", "l2")
"""Norms whose distances a record has."""

_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class Points:
    """Images (rows, channels, height, width) on the CPU and a table with one row for each.

    The table has the columns of a record, and besides `clean.predicted` and `fooled`: the answer is wrong, and the
    change no larger than the attack's eps.
    """

    images: Images
    table: pl.DataFrame

    @property
    def right(self) -> Flags:
        """Rows whose clean image is answered right."""
        return answered_right(self.table)

    @property
    def fooled(self) -> Flags:
        """Rows that are answered wrong within the size of the attack, those wrong from the start included."""
        return np.asarray(self.table["fooled"].to_numpy(), bool)

    @property
    def successful(self) -> Flags:
        """Rows that are fooled and were right before."""
        return self.fooled & self.right

    def within(self, condition: Condition) -> Flags:
        """Rows whose change is no larger than the attack's eps; all of them where it has none."""
        return within(self.table, condition)


def answered_right(rows: pl.DataFrame) -> Flags:
    """Rows whose clean image is answered right."""
    return np.asarray((rows["clean.predicted"] == rows["label"]).to_numpy(), bool)


def within(rows: pl.DataFrame, condition: Condition) -> Flags:
    """Ensembles keep the smallest change, of whatever size, and are judged at one size."""
    if condition.keep != "nearest" or not condition.severity or condition.norm not in MEASURED:
        return np.ones(len(rows), bool)
    return np.asarray((rows[f"distance.{condition.norm}"] <= condition.severity + _ROUNDING).to_numpy(), bool)


def attack(bench: Bench, condition: Condition, rows: Rows) -> Points:
    """Attack some index rows; the keys, hence the points, are those of an audit with the same seed."""
    images, labels = bench.load(rows)
    ids = [bench.index.sample_ids[row] for row in rows]
    keys = Keys.of(bench.plan.seed, ids, condition.name)
    clean = ask(bench.classifier, images, bench.plan.batch)
    found = attacked(condition, bench.classifier, images, labels, keys, batch=bench.plan.batch)
    shown = Shown(found.outcome.logits.cpu(), {}, torch.zeros(2, len(rows), dtype=torch.int64))
    record = table(condition, _identity(bench, rows), labels.cpu(), shown, found, [None] * len(rows))
    return Points(
        found.outcome.x.cpu(),
        record.with_columns(
            pl.Series("clean.predicted", clean.argmax(dim=1).tolist(), dtype=pl.Int32()),
            pl.Series("fooled", wrong(record) & within(record, condition)),
        ),
    )


def _identity(bench: Bench, rows: Rows) -> dict[str, list[object]]:
    index = bench.index
    return {
        "sample_id": [index.sample_ids[row] for row in rows],
        "role": [index.roles[row] for row in rows],
        "label": index.labels[rows].tolist(),
        "group": [index.groups[row] for row in rows],
        **known(index, rows),
    }


def ask(classifier: Classifier, images: Images, batch: int) -> Logits:
    """What a model answers, on the CPU."""
    with torch.no_grad():
        parts = [classifier.logits(part.to(classifier.device)).cpu() for part in torch.split(images, batch)]
    return torch.cat(parts)


def joined(parts: list[Points]) -> Points:
    """All rows of several."""
    return Points(torch.cat([part.images for part in parts]), pl.concat([part.table for part in parts], how="diagonal"))
