"""How a run begins: its job, its folder, and what is refused before anything is measured."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import torch

from demur import seal
from demur.data import Source
from demur.data.index_files import StoredScan
from demur.data.kept_images import KeptImages
from demur.files import locked
from demur.pipeline.halving import without_failures
from demur.pipeline.job import Job
from demur.pipeline.plan.plan_file import Plan
from demur.pipeline.preflight import preflight_checks, try_attacks, try_maps, with_map_layers
from demur.pipeline.run.crashes import READING, keep_crashes, without_crashes
from demur.pipeline.run.deadly_files import lost_ids, without_deadly_files
from demur.pipeline.run.effort import Progress
from demur.pipeline.run.engines import check_engine
from demur.pipeline.run.fitting import try_signals
from demur.pipeline.run.flight import Flight
from demur.pipeline.run.model_answers import check_answers
from demur.pipeline.run.out_folders import refuse_others
from demur.pipeline.run.prepare import StandIns, prepared_job
from demur.pipeline.run.resources import Resources
from demur.pipeline.run.run_metadata import write_metadata
from demur.pipeline.run.run_times import Start
from demur.pipeline.run.run_writer import RunWriter, fault_log, folder_of, try_folder
from demur.pipeline.run.shared_scan import SharedScan
from demur.pipeline.run.struck_shards import shard_words, strike_faulty
from demur.pipeline.sanity.attack_trials import surrogate_of
from demur.registry.regular_files import MIB

Begun: TypeAlias = tuple[Job, RunWriter, list[dict[str, Any]], list[str]]
"""A job, its folder, what was found of the model beforehand, and what differs from the run that is continued."""

_CHECKING = "checking the model and the data"
_UNSEALED = (
    f"{seal.FILE} was changed since it was written and vouches for nothing any more: all but the records is worked out "
    "anew"
)


def default_folder(plan: Plan) -> Path:
    """`runs/<model>-<data>-<plan8>`: the same plan finds its folder again."""
    parts = [
        re.sub(r"[^a-z0-9]+", "_", _stem(text).lower()).strip("_") for text in (plan.model.address, plan.data.address)
    ]
    return Path("runs") / f"{parts[0]}-{parts[1]}-{plan.sha256[:8]}"


def _stem(address: str) -> str:
    """The telling part of an address: an architecture's or a file's name."""
    scheme, _, rest = address.partition("?")[0].partition(":")
    place = rest.partition("@")[0]
    return ((Path(place).stem if "/" in place or "." in place else place) or scheme)[:80]


@contextmanager
def begun_run(
    plan: Plan, out: Path | None, progress: Progress, others: StandIns, resources: Resources
) -> Iterator[Begun]:
    """The job of a plan and its folder, locked, which belongs to this plan, this model and these images."""
    check_engine(resources)
    if resources.threads is not None:
        torch.set_num_threads(resources.threads)
    start, kept, flights = Start.now(), KeptImages(resources.image_memory * MIB), list[Flight]()
    with ExitStack() as stack:

        @contextmanager
        def reading(resolved: Plan, sources: Sequence[Source]) -> Iterator[Sequence[Source]]:
            place = out or default_folder(resolved)
            refuse_others(place)
            flight = run_lock(place, stack)
            flights.append(flight)
            if seal.mend(flight.folder):
                progress.say(_UNSEALED)
            sources = without_deadly_files(sources, flight, progress.say)
            with flight.at(READING):
                yield sources

        elsewhere: list[float] = []
        shared = SharedScan(resources.for_reading, progress.say, elsewhere.append)
        scanner = shared if resources.index is None else StoredScan(resources.index)
        lost = None if out is None else lost_ids(out)
        job = prepared_job(plan, others, progress.say, reading, kept, scanner, lost)
        yield _begun(job, flights[0], progress, resources, start.with_others(sum(elsewhere)), stack)


def run_lock(path: Path, stack: ExitStack) -> Flight:
    """Lock a folder, until the stack is left, and see what the process before died of."""
    try_folder(path)
    stack.enter_context(_lock_on(path))
    flight = Flight(path)
    stack.enter_context(flight.watched())
    return flight


def _begun(job: Job, flight: Flight, progress: Progress, resources: Resources, start: Start, stack: ExitStack) -> Begun:
    for note in job.classifier.notes:
        progress.say(note)
    job = without_crashes(job, flight, progress.say, resources.threads)
    progress.say(_CHECKING)
    with flight.at(_CHECKING):
        checks, job = checked_job(job)
    folder = folder_of(flight.folder, job.plan, flight, start)
    stack.enter_context(fault_log(folder))
    keep_crashes(job, folder)
    with flight.at(_CHECKING):
        notes = write_metadata(job, folder)
        for name, why in strike_faulty(folder).items():
            progress.say(f"{shard_words(folder.path, name, why)}. It is measured anew")
        notes += check_answers(job, folder)
    for sentence in notes:
        progress.say(sentence)
    return job, folder, checks, notes


@contextmanager
def _lock_on(path: Path) -> Iterator[None]:
    """A folder, locked; where an error comes before anything is in it, what was made for this goes again.

    Raises:
        InputError: the folder cannot be written.
        RunError: another process writes into it.
    """
    missing = [each for each in (path, *path.parents) if not each.exists()]
    had_lock = (path / "lock").exists()
    try:
        with locked(path):
            try:
                yield
            except BaseException:
                if not had_lock and {each.name for each in path.iterdir()} == {"lock"}:
                    (path / "lock").unlink()
                raise
    except BaseException:
        with suppress(OSError):  # one that is not empty stays
            for each in missing:
                each.rmdir()
        raise


def say_harm(folder: RunWriter, progress: Progress, notes: Sequence[str]) -> None:
    """What is measured again although it was measured once, and what else the log should keep."""
    if folder.harmed:
        folder.log("files were changed since they were written", files=list(folder.harmed))
        progress.say(f"changed since they were written, and worked out anew: {', '.join(folder.harmed)}")
    for sentence in notes:
        folder.log("goes on otherwise than it began", note=sentence)


def checked_job(job: Job) -> tuple[list[dict[str, Any]], Job]:
    """Refuse what cannot be measured before anything is; what was found of the model, and the job with a surrogate."""
    checks = preflight_checks(job)
    without_failures(job, job.index.readable[: job.plan.batch], lambda job, _rows: try_signals(job), _silent)
    try_attacks(job.conditions, job.classifier)
    try_maps(job)
    job = with_map_layers(job)
    return checks, replace(job, surrogate=surrogate_of(job.plan.conditions.surrogate, job.classifier, job.scored))


def _silent(_why: str, _lost: Mapping[int, str]) -> None:
    """Rows on which the model fails are told of where they are measured."""
