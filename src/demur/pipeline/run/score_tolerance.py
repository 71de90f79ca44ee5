"""How far a score of this model moves when the same image is asked again, measured before a certify label is read."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import polars as pl
import torch

from demur.errors import DemurError
from demur.pipeline.job import IndexRows, Job
from demur.pipeline.plan.conditions import CLEAN
from demur.pipeline.run.record_rows import score_batch
from demur.policies import Tolerance
from demur.policies.policy import Floats
from demur.randomness import Keys
from demur.shapes import Images, Scores

ASKED = 64
"""Tune images that are asked again, from the surest to the least sure."""

_OTHER_BATCH = 7


def measure_tolerance(job: Job, clean: pl.DataFrame, signal: str) -> tuple[Tolerance, tuple[str, ...]]:
    """The tolerance of a signal, and how its images were asked again.

    Alone, in batches of another size and order, and in float64 where the model bears it; each draws by the same keys as
    in the records. A way that the model or the signal refuses says nothing. Without any the tolerance is one step of
    float32.

    Args:
        job: with the fitted signals.
        clean: the clean rows.
        signal: its canonical name.
    """
    tune = clean.filter((pl.col("split") == "tune") & pl.col("error").is_null()).sort(f"signal.{signal}", "sample_id")
    tune = tune[np.unique(np.linspace(0, len(tune) - 1, min(ASKED, len(tune))).astype(np.int64))] if len(tune) else tune
    recorded = tune[f"signal.{signal}"].to_numpy()
    found = dict(_asked_again(job, _positions(job, tune), signal)) if len(tune) else {}
    moves = [np.abs(scores - recorded) for scores in found.values()]
    return Tolerance.measured(recorded, np.max(moves, axis=0) if moves else np.full(len(tune), np.nan)), tuple(found)


def _positions(job: Job, rows: pl.DataFrame) -> IndexRows:
    place = {name: row for row, name in enumerate(job.index.sample_ids)}
    return np.array([place[name] for name in rows["sample_id"]], dtype=np.int64)


def _asked_again(job: Job, rows: IndexRows, signal: str) -> Iterator[tuple[str, Floats]]:
    x, keys = job.load(rows)[0], job.keys(rows, CLEAN.name)
    exact = None if job.classifier.double_fault else replace(job, classifier=job.classifier.double)
    for way, asked, images, size in (
        ("alone", job, x, 1),
        ("in other batches", job, x, _OTHER_BATCH),
        ("in float64", exact, x.double(), job.plan.batch),
    ):
        if asked is not None:
            try:
                yield way, _scores(asked, images, keys, signal, size).double().numpy()
            except (DemurError, RuntimeError):  # such as a signal that does not bear float64
                continue


def _scores(job: Job, x: Images, keys: Keys, signal: str, size: int) -> Scores:
    """The scores of images that are asked from the last to the first, so many at a time."""
    batches = torch.split(torch.arange(len(x)).flip(0), size)
    wanted = {signal: job.ready[signal]}
    with torch.no_grad():
        parts = [
            score_batch(wanted, evidence).scores[signal]
            for rows in batches
            for evidence in job.evidence(x[rows], keys.rows(rows.tolist()))
        ]
    return torch.cat(parts).flip(0)
