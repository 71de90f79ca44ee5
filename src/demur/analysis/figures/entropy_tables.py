"""Entropy of the answers: of right and wrong ones, against confidence, and how it goes along with being wrong."""

import hashlib
import math
from collections.abc import Iterator

import numpy as np
import polars as pl

from demur.analysis.quantity import Number, Quantity, Table
from demur.analysis.run_folder import Floats, Run
from demur.metrics.rank_correlation import spearman
from demur.records import groups, wrong

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_POINTS, _BINS, _ROWS = 400, 40, 512


class Spread(Table):
    """Where the middle of some numbers lies: the 5th, 25th, 50th, 75th and 95th percentile of `n` of them."""

    n: int
    quantiles: tuple[Number, Number, Number, Number, Number]


class EntropyPoint(Table):
    """One image: its confidence in [0, 1], the entropy of its answer in nats, whether that was right."""

    confidence: float
    entropy: float
    is_right: bool


class EntropyTable(Table):
    """Entropy in nats of the softmax of the clean images that nothing was fitted on.

    `edges` has one entry more than the counts of right and wrong answers. `correlation` is Spearman's between entropy
    and being wrong. `points` are at most 400 images, those with the smallest hashes of their ids.
    """

    most: float
    edges: tuple[float, ...]
    right_counts: tuple[int, ...]
    wrong_counts: tuple[int, ...]
    right: Spread
    wrong: Spread
    correlation: Quantity
    points: tuple[EntropyPoint, ...]


def entropy_table(run: Run) -> EntropyTable | None:
    """The table; None where no logits were kept, or no image."""
    rows = run.unfitted_rows()
    if not run.has_logits or rows.is_empty():
        return None
    failed = wrong(rows)
    confidence, entropy = (np.concatenate(part) for part in zip(*_batches(run, rows), strict=True))
    edges = np.linspace(0, math.log(len(run.classes)), _BINS + 1)
    counts = [np.histogram(entropy[flags].clip(0, edges[-1]), edges)[0].tolist() for flags in (~failed, failed)]
    return EntropyTable(
        most=float(edges[-1]),
        edges=tuple(float(edge) for edge in edges),
        right_counts=counts[0],
        wrong_counts=counts[1],
        right=spread(entropy[~failed]),
        wrong=spread(entropy[failed]),
        correlation=Quantity.of(spearman(entropy, failed, groups(rows))),
        points=tuple(
            EntropyPoint(
                confidence=round(float(confidence[at]), 5),
                entropy=round(float(entropy[at]), 5),
                is_right=not bool(failed[at]),
            )
            for at in _sampled(rows["sample_id"].to_list())
        ),
    )


def spread(values: Floats) -> Spread:
    """The percentiles of some numbers; undefined of none."""
    found = np.quantile(values, QUANTILES).tolist() if len(values) else [math.nan] * len(QUANTILES)
    return Spread(n=len(values), quantiles=tuple(float(f"{value:.6g}") for value in found))  # type: ignore[arg-type]


def _batches(run: Run, rows: pl.DataFrame) -> Iterator[tuple[Floats, Floats]]:
    """Confidence and entropy of clean rows in their order, some at a time: the logits of many classes are large."""
    places = run.rows("clean")["sample_id"].is_in(rows["sample_id"].to_list()).arg_true().to_numpy()
    for start in range(0, len(places), _ROWS):
        logits = run.logits[places[start : start + _ROWS]].astype(np.float64)
        logs = logits - logits.max(axis=1, keepdims=True)
        logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
        yield np.exp(logs.max(axis=1)), -(np.exp(logs) * logs).sum(axis=1)


def _sampled(sample_ids: list[str]) -> list[int]:
    hashes = [hashlib.sha256(name.encode()).digest() for name in sample_ids]
    return sorted(range(len(hashes)), key=hashes.__getitem__)[:_POINTS]
