"""Passes, hours, memory, bytes and cost of a plan before it is run: by stage, from what a probe measured."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import torch

from demur.errors import InputError
from demur.pipeline.drawn_rows import attackable
from demur.pipeline.estimate.probe import Probe, per_pass, probe, timed
from demur.pipeline.image_similarity import comparisons, near_duplicate_facts, neighbour_facts, printed_rows
from demur.pipeline.job import Job, shard_rows
from demur.pipeline.plan.conditions import Condition
from demur.pipeline.plan.plan_file import Plan
from demur.pipeline.plan.resolve import second_signal
from demur.pipeline.plan.sections import guard_passes
from demur.pipeline.plan.sizing import CHECKS, Effort
from demur.pipeline.run.begun import checked_job
from demur.pipeline.run.crew import cores
from demur.pipeline.run.fitting import fit_rows, fit_signals
from demur.pipeline.run.prepare import StandIns, prepared_job
from demur.pipeline.run.resources import MOST, Resources
from demur.pipeline.run.shared_scan import readers
from demur.signals import Fittable

READING, FITTING, SIMILAR = "reading the images", "fitting signals", "near-duplicates"
REPORT = "results and report"

NOT_COUNTED = (
    "waiting for machines, and the start of processes",
    "images that come slower to many machines than to this one",
    "shards that are measured again after a crash",
    "pictures, and what of maps is no row",
)
"""What no estimate holds."""

_SIMILAR = 1500
"""Images among which near-duplicates are looked for in the probe."""

_FIT = 256
"""Images that signals are fitted on for the probe."""

_REPORT, _REPORT_ROW = 6.0, 4e-6
"""Seconds of the results and the report: of a small run, and of each row beside."""

_PAGES = 6_000_000
"""Bytes of the report, its tables and pictures."""

_COPIES = 8
"""Images of a shard that are held at once for each of its rows."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage: how many rows it has, and what they take.

    Attributes:
        name: a kind of condition, or what is done beside them.
        rows: of the record; 0 where it leaves none.
        passes: forwards and backwards, as far as they are counted.
        seconds: of one processor.
        bytes: on disk.
        shared: whether its work is shared out among processes and machines.
    """

    name: str
    rows: int
    passes: float
    seconds: float
    bytes: float
    shared: bool = False


@dataclass(frozen=True, kw_only=True)
class Machines:
    """What a plan is to run on: so many machines of so many processes, at a price of one for an hour."""

    machines: int = 1
    workers: int | None = None
    price: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("machines", self.machines), ("workers", self.workers)):
            if value is not None and not 1 <= value <= MOST:
                raise InputError(f"--{name} must be at least 1, and at most {MOST:,}; got {value!s:.40}.")
        if self.price is not None and not 0 <= self.price <= MOST:
            raise InputError(f"--price-per-hour must be a price from 0 to {MOST:,}, such as 0.35; got {self.price}.")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The probe: memory of a process, what the probe took, the device, and what an audit of the same may use."""

    memory: int | None = None
    seconds: float = 0.0
    device: str = "cpu"
    resources: Resources = field(default_factory=Resources)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a plan will take.

    Attributes:
        stages: in their order.
        hours: from begin to end.
        processor_hours: of one processor, in all.
        memory: bytes that one process holds at most, on a GPU those of its memory; None where that is not told.
        bytes: on disk.
        machines: that were counted with.
        workers: processes of each.
        readers: processes of each that read the images before anything is measured.
        device: that the model was tried on.
        cost: of the machines, while they are needed; None without a price.
        probe_seconds: what the probe itself took.
        not_counted: what none of this holds.
    """

    stages: tuple[Stage, ...]
    hours: float
    processor_hours: float
    memory: int | None
    bytes: float
    machines: int
    workers: int
    readers: int
    device: str
    cost: float | None
    probe_seconds: float
    not_counted: tuple[str, ...] = NOT_COUNTED

    @property
    def passes(self) -> float:
        """Forwards and backwards in all."""
        return sum(stage.passes for stage in self.stages)

    @property
    def facts(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"passes": self.passes, **asdict(self)}


def estimate(plan: Plan, on: Machines, say: Callable[[str], None], others: StandIns | None = None) -> Estimate:
    """What a plan will take on some machines, by trying a few images of each of its conditions here.

    Args:
        plan: as it was given.
        on: the machines.
        say: told what is being done.
        others: what stands in for what the plan names, and where the model runs.

    Raises:
        InputError: something that is named cannot be used, as an audit would say.
    """
    given = others or StandIns()
    reading, job = timed(torch.device("cpu"), lambda: prepared_job(plan, given, say))
    say("checking the model and the data")
    checking, job = timed(job.classifier.device, lambda: checked_job(job)[1])
    fitting, job = _fitted(job, say)
    trying, found = timed(job.classifier.device, lambda: probe(job, say))
    stages = [
        Stage(name=READING, rows=0, passes=0, seconds=reading, bytes=0),
        Stage(name=CHECKS, rows=0, passes=_effort(job).other_passes(job.plan, ())[CHECKS], seconds=checking, bytes=0),
        *([Stage(name=FITTING, rows=0, passes=0, seconds=fitting, bytes=0)] if fitting else ()),
        *_of_conditions(job, found),
        *_other_stages(job, found),
        Stage(name=SIMILAR, rows=0, passes=0, seconds=_similar(job, say), bytes=0),
    ]
    rows = sum(stage.rows for stage in stages)
    stages.append(Stage(name=REPORT, rows=0, passes=0, seconds=_REPORT + _REPORT_ROW * rows, bytes=_PAGES))
    trial = Trial(memory=_memory(job, found), seconds=reading + checking + trying, device=job.classifier.device.type)
    return _on(on, stages, replace(trial, resources=given.settled(Resources(workers=on.workers))))


def _fitted(job: Job, say: Callable[[str], None]) -> tuple[float, Job]:
    """The job with signals fitted on few images, and what it would take on all."""
    if not any(isinstance(signal, Fittable) for signal in job.signals.values()):
        return 0.0, job
    say("fitting signals on a few images")
    rows = fit_rows(job.index)
    left = set(rows[:_FIT].tolist())
    splits = tuple("train" if own == "fit" and row not in left else own for row, own in enumerate(job.index.splits))
    few = replace(job, index=replace(job.index, splits=splits))
    seconds, fitted = timed(job.classifier.device, lambda: fit_signals(few).fitted)
    return seconds * max(1.0, len(rows) / _FIT), replace(job, fitted=fitted)


def _of_conditions(job: Job, found: Probe) -> Iterator[Stage]:
    """The conditions by kind, in the order they are measured."""
    most = shard_rows(job.source.input_shape)
    for kind in dict.fromkeys(condition.kind for condition in job.conditions):
        parts = [_stage(each, len(job.rows(each)), most, found) for each in job.conditions if each.kind == kind]
        yield Stage(
            name=kind,
            rows=sum(part.rows for part in parts),
            passes=sum(part.passes for part in parts),
            seconds=sum(part.seconds for part in parts),
            bytes=sum(part.bytes for part in parts),
            shared=True,
        )


def _stage(condition: Condition, rows: int, most: int, found: Probe) -> Stage:
    if not rows:
        return Stage(name=condition.name, rows=0, passes=0, seconds=0, bytes=0)
    own = found.of(condition)
    size = own.row_bytes * rows + own.shard_bytes * math.ceil(rows / most)
    share = rows / own.images
    return Stage(name=condition.name, rows=rows, passes=own.passes * share, seconds=own.seconds * share, bytes=size)


def _effort(job: Job) -> Effort:
    signals = guard_passes(job.plan, job.signals, map(second_signal, job.policies.values()))
    tested = len(attackable(job.index))
    return Effort(rows=len(job.index), passes=job.needs.passes, guard_passes=signals, test_rows=tested)


def _other_stages(job: Job, found: Probe) -> Iterator[Stage]:
    """What is no row of a condition, by its passes and what one takes in a search."""
    rate = per_pass(found.probed)
    for name, passes in _effort(job).other_passes(job.plan, job.conditions).items():
        if name != CHECKS:
            yield Stage(name=name, rows=0, passes=passes, seconds=passes * rate, bytes=0)


def _similar(job: Job, say: Callable[[str], None]) -> float:
    """Seconds of the search for near-duplicates and bursts: by two samples, between linear and square."""
    say("looking for near-duplicates among a few images")
    rows, others = len(job.index), 0 if job.unknown is None else len(job.unknown.index)
    sizes = sorted({max(1, min(rows, _SIMILAR) // 2), min(rows, _SIMILAR)})
    spent = [timed(torch.device("cpu"), partial(_similarity, job, size))[0] for size in sizes]
    grown = math.log2(spent[-1] / spent[0]) if len(spent) > 1 and spent[0] > 0 else 1.0
    square = (comparisons(rows, others) / comparisons(sizes[-1])) ** (min(2.0, max(1.0, grown)) / 2)
    return spent[-1] * max((rows + others) / sizes[-1], square)


def _similarity(job: Job, size: int) -> None:
    own = job.index
    few = replace(own, positions=own.positions[:size], splits=own.splits[:size], learned={})
    few = replace(few, sample_ids=own.sample_ids[:size], groups=own.groups[:size])
    printed = printed_rows(job.source, few, job.kept)
    near_duplicate_facts(job.source, few, None, printed)
    if few.group_count is None:
        neighbour_facts(job.source, few, printed)


def _memory(job: Job, found: Probe) -> int | None:
    """Bytes of one process: what whole batches take it beyond model and data, and the images of a whole shard."""
    if any(each.beyond is None for each in found.probed):
        return None
    shard = min(len(job.index), shard_rows(job.source.input_shape))
    most = max((each.memory(min(job.plan.batch, shard)) for each in found.probed), default=0.0)
    return round(most + _COPIES * shard * 4 * math.prod(job.source.input_shape))


def _on(on: Machines, stages: Sequence[Stage], trial: Trial) -> Estimate:
    """The estimate for some machines: shards are shared out, images are read by each part in both phases.

    They are read by as many processes as pay. Signals are fitted by each part that measures clean shards, and once more
    where they are kept.
    """
    by_name: Mapping[str, float] = {stage.name: stage.seconds for stage in stages}
    shared = sum(stage.seconds for stage in stages if stage.shared)
    workers = on.workers or trial.resources.processes_for(shared, cores())
    reading = readers(trial.resources.for_reading, by_name[READING])
    many = on.machines > 1
    saved = by_name[READING] * (1 - 1 / reading)
    alone = sum(stage.seconds for stage in stages if not stage.shared) - saved
    every = by_name[READING] + by_name[CHECKS] - saved
    again = 2 * every + by_name.get(FITTING, 0.0) if many else 0.0
    parts = shared / (on.machines * workers) + again
    before_and_after = every + by_name[REPORT] + by_name.get(FITTING, 0.0)
    beside = alone - before_and_after
    if many:
        wall, paid = parts + alone, parts * on.machines + alone
    else:
        clean = by_name.get("clean", 0.0)
        wall = before_and_after + clean / workers + max(beside, (shared - clean + beside) / workers)
        paid = wall
    return Estimate(
        stages=tuple(stages),
        hours=wall / 3600,
        processor_hours=(shared + alone + saved + (again + 2 * saved * many) * on.machines) / 3600,
        memory=trial.memory,
        bytes=sum(stage.bytes for stage in stages),
        machines=on.machines,
        workers=workers,
        readers=reading,
        device=trial.device,
        cost=None if on.price is None else paid / 3600 * on.price,
        probe_seconds=trial.seconds,
    )
