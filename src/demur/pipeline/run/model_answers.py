"""Whether a run goes on with the model it was begun with, by its answers: equal weights may serve another forward.

The logits of a few images, drawn from noise and the first that are audited, are kept in `facts/answers.json` as values
and compared within a tolerance, so that another processor or version may ask.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from demur.errors import RunError
from demur.files import read_json
from demur.foreign import is_of_the_model
from demur.pipeline.halving import without_failures
from demur.pipeline.job import IndexRows, Job, finite
from demur.pipeline.plan.conditions import CLEAN
from demur.pipeline.run.run_writer import RunWriter
from demur.randomness import Keys
from demur.shapes import Images

NAME = "facts/answers.json"
PROBES = 8
"""Images of either sort."""

SAME, ELSEWHERE = 1e-3, 2e-2
"""How far logits may lie apart, as a share of the largest: on the same kind of device in the same precision, and else.

Processors differ by rounding, some 1e-6; kernels in reduced precision, such as TF32 or bfloat16, by some 1e-3 to 1e-2.
"""


def check_answers(job: Job, folder: RunWriter) -> list[str]:
    """Compare the model's answers with those at the beginning of the run, or keep them for the next time.

    Returns what differs and forbids nothing, a sentence each.

    Raises:
        RunError: the model answers otherwise than it did.
    """
    now = without_failures(job, job.index.readable[:PROBES], _answers, lambda _why, _lost: None)
    kept = folder.has(NAME)
    before = read_json(folder.path / NAME) if kept else _recorded(job, folder)
    notes = [] if before is None else list(compared_answers(before, now, folder))
    if not kept:
        folder.write_json(NAME, now)
    return notes


def _answers(job: Job, first: IndexRows) -> dict[str, Any]:
    """Logits of noise and of the first readable images, how far they move when asked again, and where they were got."""
    model = job.classifier
    images, _ = job.load(first)
    shown, again = _logits(job, images), _logits(job, images)
    return {
        "device": model.device.type,
        "dtype": str(model.dtype).removeprefix("torch."),
        "repeatable": _largest(shown - again) <= SAME * _largest(shown),
        "sample_ids": [job.index.sample_ids[row] for row in first],
        "logits": _plain(shown),
        "noise": _noise_logits(job),
    }


def _noise_logits(job: Job) -> list[list[float]] | None:
    """Of noise that is the same each time; None where the model answers images only, or fails on noise."""
    keys = Keys.of(0, [f"probe {number}" for number in range(PROBES)], "answers")
    noise = keys.uniform(torch.empty(PROBES, *job.classifier.input_shape, device=job.classifier.device), "noise")
    try:
        return _plain(_logits(job, noise))
    except BaseException as error:
        if not is_of_the_model(error):
            raise
        return None


def _logits(job: Job, images: Images) -> NDArray[np.float64]:
    with torch.no_grad():
        return finite(job.classifier.logits(images)).cpu().double().numpy()


def _plain(logits: NDArray[np.float64]) -> list[list[float]]:
    return [[float(f"{value:.9g}") for value in row] for row in logits.tolist()]


def _largest(values: NDArray[np.float64]) -> float:
    return float(np.abs(values).max()) if values.size else 0.0


def _recorded(job: Job, folder: RunWriter) -> dict[str, Any] | None:
    """The logits that the records have of the first images, where nothing else was kept; None where they have none."""
    first = min((name for name, entry in folder.shards().items() if entry["condition"] == CLEAN.name), default=None)
    if first is None:
        return None
    columns = [f"logit.{k}" for k in range(len(job.classifier.classes))]
    table = pl.read_parquet(folder.path / "records" / f"{first}.parquet", columns=["sample_id", *columns]).drop_nulls()
    ids = [job.index.sample_ids[row] for row in job.index.readable[:PROBES]]
    rows = table.filter(pl.col("sample_id").is_in(ids))
    shown = rows.select(columns).to_numpy().tolist()
    return {"repeatable": True, "sample_ids": rows["sample_id"].to_list(), "logits": shown, "noise": None}


def compared_answers(before: Mapping[str, Any], now: Mapping[str, Any], folder: RunWriter) -> Iterator[str]:
    """Sentences on where the answers come from.

    Raises:
        RunError: they are others.
    """
    moved = [
        f"{key} {before[key]} then, {now[key]} now"
        for key in ("device", "dtype")
        if before.get(key, now[key]) != now[key]
    ]
    if moved:
        yield f"the run was begun elsewhere: {', '.join(moved)}; its answers are the same to {ELSEWHERE:g}"
    if not before["repeatable"]:
        return
    tolerance = ELSEWHERE if moved else SAME
    for apart, largest in _distances(before, now):
        if not apart <= tolerance * largest:
            raise RunError(
                f"{folder.path} was begun with a model that answers otherwise, though its weights are the same: on "
                f"{PROBES} fixed images logits differ by up to {apart:.3g} from those at the beginning (the largest is "
                f"{largest:.3g}; {tolerance:g} of it is allowed). Its forward pass, its preprocessing or what it calls "
                "was changed. Choose another folder with --out."
            )


def _distances(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[float, float]]:
    """How far logits lie apart, and the largest: of the images that both know, and of noise."""
    rows = dict(zip(now["sample_ids"], now["logits"], strict=True))
    shared = [
        (old, rows[name]) for name, old in zip(before["sample_ids"], before["logits"], strict=True) if name in rows
    ]
    noise = list(zip(before["noise"] or (), now["noise"] or (), strict=False))
    for pairs in (shared, noise):
        if pairs:
            old, new = (np.array(side, np.float64) for side in zip(*pairs, strict=True))
            yield _largest(old - new), max(_largest(old), _largest(new))
