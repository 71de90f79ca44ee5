"""A few images of each condition, measured: seconds of the processor, passes, bytes and memory."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import polars as pl
import torch

from demur.pipeline.bench.peak_memory import peak_memory
from demur.pipeline.job import IndexRows, Job
from demur.pipeline.plan.conditions import Condition, Kind
from demur.pipeline.run.measured_shard import MEASURES
from demur.records import EncodedShard

T = TypeVar("T")

FEWEST, SHARE = 16, 0.05
"""Images that a condition is tried on: one in twenty of its own, at least so many, at most a batch."""


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What some images took under one condition.

    Attributes:
        condition: its name.
        kind: of the condition.
        images: how many were tried.
        seconds: of the processor, or where the model is on another device of the clock.
        passes: forwards and backwards.
        shard_bytes: of a shard without rows, as far as can be told.
        row_bytes: of each row.
        base: bytes of memory that the process held before; None where this machine does not tell.
        beyond: bytes that it held at most beyond these.
    """

    condition: str
    kind: Kind
    images: int
    seconds: float
    passes: float
    shard_bytes: float
    row_bytes: float
    base: int | None
    beyond: int | None

    def memory(self, images: int) -> float:
        """Bytes that a process would hold of so many images at once, those of the model and the data among them."""
        return (self.base or 0) + (self.beyond or 0) * max(1.0, images / self.images)


@dataclass(frozen=True, kw_only=True)
class Probe:
    """All conditions that were tried."""

    probed: tuple[Probed, ...]

    def of(self, condition: Condition) -> Probed:
        """What was measured of a condition, or of the one that stands for it."""
        wanted = stands_for(condition)
        return next(each for each in self.probed if each.condition == condition.name or each.condition == wanted)


def stands_for(condition: Condition) -> str:
    """Conditions of one text here take as long: a corruption by its family, whatever its severity."""
    return f"{condition.kind} {condition.family}" if condition.kind == "corruption" else condition.name


def probe(job: Job, say: Callable[[str], None]) -> Probe:
    """Try every condition of a job, of the severities of a corruption the first; what is measured is thrown away.

    Args:
        job: with its signals fitted.
        say: told what is being tried.
    """
    if job.conditions:
        _tried(job, job.conditions[0], _some(job.rows(job.conditions[0]), FEWEST))  # the first passes are slower
    return Probe(probed=tuple(_all(job, say)))


def _all(job: Job, say: Callable[[str], None]) -> Iterator[Probed]:
    done = set[str]()
    for condition in job.conditions:
        rows = job.rows(condition)
        if stands_for(condition) in done or not len(rows):
            continue
        done.add(stands_for(condition))
        say(f"trying {condition.name}")
        count = min(job.plan.batch, max(FEWEST, round(SHARE * len(rows))))
        yield _tried(job, condition, _some(rows, count))


def _some(rows: IndexRows, count: int) -> IndexRows:
    """So many rows, evenly spread."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(np.int64))]


def _tried(job: Job, condition: Condition, rows: IndexRows) -> Probed:
    own, device, kept = job.on_images_of(condition), job.classifier.device, list[tuple[float, pl.DataFrame]]()

    def work() -> None:
        kept.append(timed(device, lambda: MEASURES[condition.kind](own, condition, rows)))

    peak, beyond = peak_memory(device, work)
    spent, table = kept[0]
    half = max(1, len(table) // 2)
    whole, part = (EncodedShard.of(rows, "probe").size for rows in (table, table[:half]))
    per_row = (whole - part) / (len(table) - half) if len(table) > half else whole / len(table)
    return Probed(
        condition=stands_for(condition),
        kind=condition.kind,
        images=len(rows),
        seconds=spent,
        passes=float(table.select(pl.col("forwards").sum() + pl.col("backwards").sum()).item()),
        shard_bytes=max(0.0, whole - per_row * len(table)),
        row_bytes=per_row,
        base=None if peak is None or beyond is None else peak - beyond,
        beyond=beyond,
    )


def timed(device: torch.device, work: Callable[[], T]) -> tuple[float, T]:
    """Seconds of the processor that some work took, or where the model is on another device of the clock."""
    clock = time.process_time if device.type == "cpu" else time.monotonic
    begun = clock()
    found = work()
    return clock() - begun, found


def per_pass(probed: Sequence[Probed]) -> float:
    """Seconds of a pass of the cheapest search among those tried, and else of what was tried; no signals count."""
    searches = [each for each in probed if each.kind in {"attack", "epsilon"} and each.passes]
    rates = [each.seconds / each.passes for each in searches or probed if each.passes]
    return min(rates, default=0.0)
