"""Images that end every process that is asked about them, past anything Python could catch.

Where a process died beside the shards, such as when signals were fitted, the next one asks helpers about the images in
ever smaller parts, by the pass that signals share. An image that ends them alone is one that cannot be read from then
on, with the reason. Nothing here is on the way of a run that goes well.
"""

import pickle
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch

from demur.compact import choices_of
from demur.containment import contained
from demur.data import Source
from demur.data.index import Index
from demur.data.lost_images import sample_ids
from demur.data.unknown_images import unknown_id
from demur.errors import InputError, RunError
from demur.files import read_json
from demur.foreign import blamed, reason
from demur.pipeline.halving import MOST, ask, batches, excluding, mostly_failed
from demur.pipeline.job import DIED, IndexRows, Job
from demur.pipeline.plan.conditions import CLEAN
from demur.pipeline.run.crew import Helper, sent
from demur.pipeline.run.engine import Died
from demur.pipeline.run.flight import Death, Flight
from demur.pipeline.run.helper import READY, Duty
from demur.pipeline.run.nursery import Nursery
from demur.pipeline.run.run_writer import RunWriter
from demur.records import read_shard

NAME = "facts/crashes.json"

READING = "reading the images"

_DEATHS = 100
"""Processes that may die one after the other in a search, before an image is found; it takes about ten."""


def without_crashes(job: Job, flight: Flight, say: Callable[[str], object], threads: int | None) -> Job:
    """The job in which images that end processes cannot be read: those known, and what the last process died of.

    Where none is found, all shards are measured by other processes first, which may find one.

    Raises:
        RunError: it died beside the shards for the second time, and no image alone ends a process.
        ModelError: most images do.
    """
    path, death = flight.folder, flight.death
    job = excluding(job, known_crashes(job, path))
    if death is None or death.at_shard or death.what == READING or not death.suspicious:
        return job
    say(f"the process before this one {death.how} at the step {death.what!r}; looking for an image that causes it")
    rows = _unmeasured(job, path)
    try:
        found = _deadly_rows_among(job, rows, threads or torch.get_num_threads())
    except InputError as error:
        say(f"cannot look for it: {error}")
        return job
    if not found and flight.careful:
        flight.landed()
        raise RunError(_unexplained(death))
    if not found:
        flight.landed(careful=True)
    if len(found) > MOST * len(job.index):
        raise mostly_failed(f"{len(found)} of {len(job.index)} images", next(iter(found.values())))
    return excluding(job, found)


def _unexplained(death: Death) -> str:
    lines = [line.strip() for line in death.trace.splitlines() if line.strip().startswith("File ")]
    where = f" The innermost line was {lines[0].removeprefix('File ')}." if lines else ""
    return (
        f"the process before this one {death.how} at the step {death.what!r}, again, and no image alone ends one "
        f"that is asked about it.{where} Correct the model or the memory it is given; the same command tries again."
    )


def known_crashes(job: Job, path: Path) -> dict[int, str]:
    """The rows of a job of which a run folder knows that they end processes, and why."""
    known = read_json(path / NAME) if RunWriter(path).has(NAME) else {}
    return _rows_of(job, known)


def deadly_rows(job: Job, folder: RunWriter) -> dict[int, str]:
    """The rows of which processes died under any condition, by the shards that are there, and why."""
    found = dict[str, str]()
    for name in folder.shards():
        table = read_shard(folder.path, name, ["sample_id", "error"]).filter(pl.col("error").str.starts_with(DIED))
        found |= dict(table.iter_rows())
    return _rows_of(job, found)


def _rows_of(job: Job, reasons: Mapping[str, str]) -> dict[int, str]:
    """Reasons by index row instead of by id; those of other images are left out."""
    if not reasons:
        return {}
    return {row: reasons[name] for row, name in enumerate(job.index.sample_ids) if name in reasons}


def as_frozen(job: Job, run: Path) -> tuple[Job, dict[int, str]]:
    """The job with the unreadable rows of a frozen run folder, and those that only the job has, which are left out.

    So every part plans the same shards, whichever processes died of it.
    """
    known = known_crashes(job, run)
    own = {row: error for row, error in enumerate(job.index.errors) if error is not None and error.startswith(DIED)}
    errors = choices_of(known.get(row, None if row in own else error) for row, error in enumerate(job.index.errors))
    return replace(job, index=replace(job.index, errors=errors)), {row: own[row] for row in own if row not in known}


def keep_crashes(job: Job, folder: RunWriter) -> None:
    """Write down which images are not asked about, by their ids, where there are any."""
    found = {
        name: error
        for name, error in zip(job.index.sample_ids, job.index.errors, strict=True)
        if error is not None and error.startswith(DIED)
    }
    found |= _undecoded(job.source, job.index)
    if job.unknown is not None:
        lost = _undecoded(job.unknown.source, job.unknown.index)
        found |= {unknown_id(name): why for name, why in lost.items()}
    if found and not (folder.has(NAME) and read_json(folder.path / NAME) == found):
        folder.log("images end the process that is asked about them", rows=len(found))
        folder.write_json(NAME, found)


def _undecoded(source: Source, index: Index) -> dict[str, str]:
    """Images that end whoever decodes them, whether they take part or not, by their own ids."""
    ids = sample_ids(source) if index.undecoded else None
    return {} if ids is None else {ids[at]: why for at, why in index.undecoded.items()}


def _unmeasured(job: Job, path: Path) -> IndexRows:
    """Readable rows that no clean shard has; what is measured ends no process."""
    done = set[str]()
    for name, entry in RunWriter(path).shards().items():
        if entry["condition"] == CLEAN.name:
            with suppress(RunError):  # one that is no shard is measured again
                table = read_shard(path, name, ["sample_id", "error"])
                done |= set(table.filter(pl.col("error").is_null())["sample_id"])
    return np.array([row for row in job.index.readable if job.index.sample_ids[row] not in done], dtype=np.int64)


@dataclass(frozen=True)
class Asking:
    """The duty to run the pass that signals share: index rows in, what it raised out."""

    job: Job

    def __call__(self, asked: IndexRows) -> str:
        """What the pass on some rows raised; empty where it did not."""
        try:
            with blamed(), contained():
                ask(self.job, asked)
        except BaseException as error:  # noqa: BLE001 - it is told where the rows are measured
            return reason(error)
        return ""


def _deadly_rows_among(job: Job, rows: IndexRows, threads: int) -> Mapping[int, str]:
    """Those of some rows that end every process that is asked about them alone, and how."""
    deadly = deadly_parts(Asking(sent(job, 1)), batches(job, rows), threads)
    return {int(row): f"{DIED}{death.why}" for row, death in deadly}


def deadly_parts(duty: Duty, parts: list[IndexRows], threads: int) -> Iterator[tuple[int, Died]]:
    """Those of the numbers in some parts that end twice whoever is asked about them alone.

    Raises:
        InputError: no process can be started that has the duty.
        RunError: too many processes died.
    """
    dumped, nursery, helper = pickle.dumps(duty), Nursery(threads), None
    left, deaths, vain = deque(parts), Counter[bytes](), 0
    try:
        while left:
            helper = helper or _ready(nursery, dumped)
            part = left.popleft()
            if helper.ask(part) is not None:
                continue
            death, helper = helper.death(), None
            deaths[part.tobytes()] += 1
            if len(part) > 1:
                left.extendleft((part[len(part) // 2 :], part[: len(part) // 2]))
            elif deaths[part.tobytes()] < 2:
                left.appendleft(part)
            else:
                yield int(part[0]), death
                vain = -1
            vain += 1
            _check(vain, death)
    finally:
        if helper is not None:
            helper.end()
        nursery.close()


def _check(deaths: int, death: Died) -> None:
    if deaths > _DEATHS:
        raise RunError(
            f"{deaths} processes died one after the other when they were asked about images, and none of them of a "
            f"single one: the last one {death.why}. Correct the model or the images; the same command then tries again."
        )


def _ready(nursery: Nursery, dumped: bytes) -> Helper:
    try:
        helper = Helper.of(nursery)
    except OSError as error:
        raise InputError(f"no other process can be started: {error}.") from None
    if helper.ask((nursery.threads, dumped)) != READY:
        helper.end()
        raise InputError("no other process can be started that has this model and these images.")
    return helper
