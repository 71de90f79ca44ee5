"""How far a score of this model moves when the same image is asked again, measured before a certify label is read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import torch

from demur.foreign import reason
from demur.pipeline.drawn_rows import named_rows
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


@dataclass(frozen=True, kw_only=True)
class ScoreTolerance:
    """How far the scores of a signal may move, by asking its images again in some `ways`, or why not in others."""

    name: str
    tolerance: Tolerance
    ways: tuple[str, ...]
    refused: Mapping[str, str]


def measure_tolerance(job: Job, clean: pl.DataFrame, signal: str) -> ScoreTolerance:
    """The tolerance of a signal, and how its images were asked again.

    Alone, in batches of another size and order, and in float64 where the model bears it; each draws by the same keys as
    in the records. A way that the model or the signal refuses says nothing but why. Without any the tolerance is one
    step of float32.

    Args:
        job: with the fitted signals.
        clean: the clean rows.
        signal: its canonical name.
    """
    tune = clean.filter((pl.col("split") == "tune") & pl.col("error").is_null()).sort(f"signal.{signal}", "sample_id")
    tune = tune[np.unique(np.linspace(0, len(tune) - 1, min(ASKED, len(tune))).astype(np.int64))] if len(tune) else tune
    recorded = tune[f"signal.{signal}"].to_numpy()
    rows = named_rows(tune["sample_id"], job.index.sample_ids)
    found = dict(_repeats(job, rows, signal)) if len(tune) else {}
    moves = [np.abs(scores - recorded) for scores in found.values() if not isinstance(scores, str)]
    return ScoreTolerance(
        name=signal,
        tolerance=Tolerance.measured(recorded, np.max(moves, axis=0) if moves else np.full(len(tune), np.nan)),
        ways=tuple(way for way, scores in found.items() if not isinstance(scores, str)),
        refused={way: scores for way, scores in found.items() if isinstance(scores, str)},
    )


def _repeats(job: Job, rows: IndexRows, signal: str) -> Iterator[tuple[str, Floats | str]]:
    """The scores of the same images in each way, or why the model or the signal refuses it."""
    x, keys = job.load(rows)[0], job.keys(rows, CLEAN.name)
    exact = None if job.classifier.double_fault else replace(job, classifier=job.classifier.double)
    for way, other, images, size in (
        ("alone", job, x, 1),
        ("in other batches", job, x, _OTHER_BATCH),
        ("in float64", exact, x.double(), job.plan.batch),
    ):
        if other is not None:
            yield way, _scores_or_why(other, images, keys, signal, size)


def _scores_or_why(job: Job, x: Images, keys: Keys, signal: str, size: int) -> Floats | str:
    try:
        return _scores(job, x, keys, signal, size).double().numpy()
    except Exception as error:  # noqa: BLE001 - foreign code may raise anything, such as what does not bear float64
        return reason(error)


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
