"""A model that fails on a batch is asked again about halves of it, until the rows are known on which it fails alone.

Such a row is a row of the record with the reason as its `error`. The others were measured in another batch than
planned, which moves last bits: they have a `batch.size`, and their shard stands outside the identity of bytes. Nothing
here is on the way of a shard that goes well.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias, TypeVar

import numpy as np
import polars as pl
import torch

from demur.compact import choices_of
from demur.errors import DemurError, ModelError
from demur.foreign import is_of_the_model, is_out_of_memory, reason
from demur.pipeline.job import IndexRows, Job, finite
from demur.pipeline.plan.conditions import Condition
from demur.records import BATCH_SIZE

T = TypeVar("T")

Measure: TypeAlias = Callable[[Job, Condition, IndexRows], pl.DataFrame]

FailureTable: TypeAlias = Callable[[Job, Condition, IndexRows, str], pl.DataFrame]
"""(job, condition, rows, reason) → the table of rows that could not be measured."""

_FORWARD = frozenset({"clean", "corruption", "unknown"})
"""Kinds of conditions whose rows are measured batch by batch; of others all rows of a shard share batches."""

MOST = 0.5
"""Share of the rows of a shard on which the model may fail: beyond it there is nothing to tell of the others."""


def measure_by_halves(
    job: Job, condition: Condition, rows: IndexRows, measure: Measure, failed: FailureTable, most: float = MOST
) -> pl.DataFrame:
    """The rows of a shard on which the model failed, measured again batch by batch and then half by half.

    Raises:
        ModelError: the model fails on more than `most` of them, by default half.
    """
    planned = planned_parts(job, condition, rows)
    tables, lost = list[pl.DataFrame](), 0
    for part, table, why in halves(batches(job, rows), lambda part: measure(job, condition, part)):
        tables.append(failed(job, condition, part, why) if table is None else table)
        if table is not None and tuple(part) not in planned and BATCH_SIZE not in table.columns:
            tables[-1] = table.with_columns(pl.lit(len(part), pl.Int32).alias(BATCH_SIZE))
        lost += table is None and job.index.errors[int(part[0])] is None
        if lost > most * len(rows):
            raise mostly_failed(f"{lost} of {len(rows)} images under {condition.name}", why)
    return pl.concat(tables, how="diagonal")


def planned_parts(job: Job, condition: Condition, rows: IndexRows) -> set[tuple[int, ...]]:
    """The rows of a shard that are measured together where all goes well."""
    parts = batches(job, rows) if condition.kind in _FORWARD else [rows]
    return {tuple(part.tolist()) for part in parts}


def mostly_failed(what: str, why: str) -> ModelError:
    """The error where there is nothing to tell of the other images."""
    return ModelError(f"the model failed on {what}: {why}. Correct it; the same command then continues.")


def halves(parts: Sequence[IndexRows], work: Callable[[IndexRows], T]) -> Iterator[tuple[IndexRows, T | None, str]]:
    """Each part with what work gives of it; one on which it fails is halved, a row that fails alone has a reason."""
    for part in parts:
        found, why = _attempt(work, part)
        if not why or len(part) == 1:
            yield part, found, why
        else:
            yield from halves((part[: len(part) // 2], part[len(part) // 2 :]), work)


def _attempt(work: Callable[[IndexRows], T], part: IndexRows) -> tuple[T | None, str]:
    try:
        return work(part), ""
    except BaseException as error:
        if not is_of_the_model(error):
            raise
        why = reason(error)
        error.__traceback__ = None  # it holds every tensor of the calls it came through
    release_memory()
    return None, why


def release_memory() -> None:
    """Give back what an accelerator keeps for later; the error that held on to the rest is gone by now."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def without_failures(
    job: Job, rows: IndexRows, work: Callable[[Job, IndexRows], T], note: Callable[[str, Mapping[int, str]], None]
) -> T:
    """What work gives of a job and some rows; where the model fails, without those on which it fails alone.

    Where memory was too little it is given one batch of them.

    Raises:
        ModelError: the model fails on more than half of the rows.
        Whatever work raises the second time.
    """
    try:
        return work(job, rows)
    except BaseException as error:
        if not is_of_the_model(error):
            raise
        why, short = reason(error), is_out_of_memory(error)
        refusal = error if isinstance(error, DemurError) and not short else None
        error.__traceback__ = None  # it holds every tensor of the calls it came through
    release_memory()
    lost = failing_rows(job, rows)
    if refusal is not None and not lost:
        raise refusal
    if len(lost) > MOST * len(rows):
        raise mostly_failed(f"{len(lost)} of {len(rows)} images", why)
    note(why, lost)
    left = np.array([row for row in rows if int(row) not in lost], dtype=np.int64)
    job = excluding(job, lost)
    return _of_fewer(job, left[: job.plan.batch], work) if short else work(job, left)


def _of_fewer(job: Job, rows: IndexRows, work: Callable[[Job, IndexRows], T]) -> T:
    """What work gives of as many of the first rows as there is memory for; half as many are a batch of the job."""
    while True:
        try:
            return work(job, rows)
        except BaseException as error:
            if len(rows) < 2 or not is_out_of_memory(error):
                raise
        release_memory()
        rows = rows[: len(rows) // 2]
        job = replace(job, plan=job.plan.model_copy(update={"batch": len(rows)}))


def failing_rows(job: Job, rows: IndexRows) -> dict[int, str]:
    """Those of some rows that the model does not answer even alone, and why; by the pass that signals share."""
    return {int(part[0]): why for part, _, why in halves(batches(job, rows), lambda part: ask(job, part)) if why}


def ask(job: Job, rows: IndexRows) -> None:
    """Run the pass that signals share on some rows, for what it raises."""
    with torch.no_grad():
        for evidence in job.evidence(job.load(rows)[0], job.keys(rows, "clean")):
            finite(evidence.logits)


def excluding(job: Job, lost: Mapping[int, str]) -> Job:
    """The job in which some rows cannot be read, for what is measured beside the records."""
    if not lost:
        return job
    errors = choices_of(lost.get(row, error) for row, error in enumerate(job.index.errors))
    return replace(job, index=replace(job.index, errors=errors))


def batches(job: Job, rows: IndexRows) -> list[IndexRows]:
    """Some rows in as many as are asked about at once."""
    return [rows[start : start + job.plan.batch] for start in range(0, len(rows), job.plan.batch)]
