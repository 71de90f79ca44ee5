"""What is taken for what, clean and under the attack that fools most: all pairs of few classes, else the fullest."""

import numpy as np

from demur.analysis.quantity import Table
from demur.analysis.run_folder import Run
from demur.records import wrong

FEW_CLASSES = 20
_PAIRS = 40


class ConfusedPairs(Table):
    """Counts of (label, answer) under one condition, both as places among the classes.

    Of up to 20 classes every pair that occurs, those that are right among them; of more the 40 fullest wrong ones that
    more than one image is of.
    `left_out` counts the wrong answers that are in no pair of these.
    """

    condition: str
    n: int
    pairs: tuple[tuple[int, int, int], ...]
    left_out: int


def confused_pairs(run: Run) -> tuple[ConfusedPairs, ...]:
    """The clean images, and those under the attack with the fewest right answers."""
    attacks = [entry["name"] for entry in run.conditions("attack")]
    tables = {name: run.rows(name) for name in ("clean", *attacks)}
    fooled = {name: wrong(tables[name]).mean() for name in attacks if len(tables[name])}
    shown = ["clean", *sorted(fooled, key=lambda name: -fooled[name])[:1]]
    return tuple(_pairs(run, name) for name in shown)


def _pairs(run: Run, condition: str) -> ConfusedPairs:
    rows, size = run.rows(condition), len(run.classes)
    codes = rows["label"].to_numpy().astype(np.int64) * size + rows["predicted"].to_numpy()
    found, counts = np.unique(codes, return_counts=True)
    every = [(int(code) // size, int(code) % size, int(n)) for code, n in zip(found, counts, strict=True)]
    failed = sorted((pair for pair in every if pair[0] != pair[1]), key=lambda pair: -pair[2])
    kept = every if size <= FEW_CLASSES else [pair for pair in failed[:_PAIRS] if pair[2] > 1]
    left_out = 0 if size <= FEW_CLASSES else sum(pair[2] for pair in failed[len(kept) :])
    return ConfusedPairs(condition=condition, n=len(rows), pairs=tuple(kept), left_out=left_out)
