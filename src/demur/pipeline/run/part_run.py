"""An audit in parts that need not know of each other, such as the tasks of a batch system, and what is fixed between.

First the clean shards, for which a part needs the plan alone; once they are merged, what is fixed by them is frozen;
then all other shards, for which a part needs the frozen folder too, since a row on which the model failed as it is and
the fitted signals are of it.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from demur.containment import contained
from demur.errors import InputError, RunError
from demur.files import read_json
from demur.foreign import blamed
from demur.pipeline.job import Job, Shard, shards
from demur.pipeline.plan.conditions import CLEAN
from demur.pipeline.plan.plan_file import Plan, read_plan
from demur.pipeline.run.begun import begun_run, say_harm
from demur.pipeline.run.crashes import as_frozen
from demur.pipeline.run.effort import Effort, Progress
from demur.pipeline.run.frozen import frozen_sha256, is_clean
from demur.pipeline.run.kept_signals import stored_signals
from demur.pipeline.run.loop import fit_first, freeze_policies, lost_rows
from demur.pipeline.run.out_folders import PART, refuse_part, refuse_run
from demur.pipeline.run.planned import planned
from demur.pipeline.run.planned_effort import write_spent
from demur.pipeline.run.prepare import StandIns
from demur.pipeline.run.resources import Resources
from demur.pipeline.run.run_metadata import NAME as METADATA
from demur.pipeline.run.run_metadata import check_same_run
from demur.pipeline.run.run_writer import RunWriter
from demur.pipeline.run.struck_shards import strike

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of `count`, counted from 1: every `count`-th shard from its own on."""

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise InputError(f"--shard i/N is a part from 1/N to N/N; got {self}. Parts are counted from 1.")

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @classmethod
    def of(cls, text: str) -> "Part":
        """The part that `2/7` names.

        Raises:
            InputError: it names none.
        """
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        if found is None:
            raise InputError(f"--shard is a part and how many there are, such as 2/7; got {text!r:.80}.")
        return cls(number=int(found[1]), count=int(found[2]))

    def share(self, work: list[Item]) -> list[Item]:
        """What is this part's of some work."""
        return work[self.number - 1 :: self.count]


@dataclass(frozen=True, kw_only=True)
class PartDone:
    """What a part has measured: how many shards it has, of how many of its phase."""

    folder: Path
    part: Part
    own: int
    all: int
    frozen: bool


def measure_part(
    plan: Plan,
    part: Part,
    out: Path,
    progress: Progress,
    *,
    frozen: Path | None = None,
    others: StandIns | None = None,
    resources: Resources | None = None,
) -> PartDone:
    """Measure a part of the clean shards; with a frozen run folder, the same part of all others.

    The same call again continues. Nothing is worked out of a part: `merge_parts` puts parts into a run folder.

    Raises:
        InputError: something given cannot be used; nothing was measured.
        RunError: the folder is another part or of another run, or the run is not frozen.
    """
    refuse_run(out)
    others = others or StandIns()
    used = others.settled(resources)
    with (
        blamed(),
        contained(),
        begun_run(plan, out, progress, others, used) as (job, folder, checks, notes),
    ):
        say_harm(folder, progress, notes)
        _claim(folder, part, None if frozen is None else frozen_sha256(frozen))
        folder.times.note_beginning()
        folder.write_json("facts/preflight.json", checks)
        if frozen is None:
            own = [task for task in shards(job) if task.condition == CLEAN]
        else:
            job, own = _after_freeze(job, folder, frozen)
        mine = part.share(own)
        _measure(job, folder, mine, progress, used)
    return PartDone(folder=out, part=part, own=len(mine), all=len(own), frozen=frozen is not None)


def _measure(job: Job, folder: RunWriter, mine: list[Shard], progress: Progress, resources: Resources) -> None:
    done = folder.intact(planned(job, mine))
    missing = [task for task in mine if task.name not in done]
    if not missing:
        return
    folder.log("started")
    if not job.fitted:  # nor where a plug-in's signals cannot be kept: each part fits them, and comes to the same
        job = fit_first(job, folder, mine, progress)
    with Effort(job, folder, progress, resources) as effort:
        effort.begin(mine, missing)
        effort.measure(missing)
    write_spent(folder)


def _after_freeze(job: Job, folder: RunWriter, frozen: Path) -> tuple[Job, list[Shard]]:
    """The job with the signals that were fitted, and the shards without rows on which the model failed as they are.

    Raises:
        RunError: the frozen folder is of another run.
        InputError: its fitted signals are not as they were written.
    """
    check_same_run(RunWriter(frozen), read_json(frozen / METADATA), read_json(folder.path / METADATA))
    job, deadly = as_frozen(job, frozen)
    lost = {**lost_rows(job, frozen), **deadly}
    rest = [task.without(lost) for task in shards(job) if task.condition != CLEAN]
    return replace(job, fitted=stored_signals(job, frozen) or {}), rest


def _claim(folder: RunWriter, part: Part, frozen: str | None) -> None:
    """A folder is one part, of one frozen folder, for good.

    Where it is not known any more of which, shards that were measured after a freeze are measured anew.

    Raises:
        RunError: it is another.
    """
    before = read_json(folder.path / PART) if folder.has(PART) else {"part": str(part), "frozen": None}
    if before["part"] != str(part):
        raise RunError(
            f"{folder.path} is part {before['part']} of this audit, and this is {part}. Choose another folder with "
            "--out."
        )
    if frozen is not None and before["frozen"] not in {None, frozen}:
        raise RunError(
            f"{folder.path} holds shards that were measured after another freeze. Choose another folder with --out."
        )
    late = [name for name, entry in folder.shards().items() if not is_clean(entry)]
    if frozen is not None and before["frozen"] is None and late:
        folder.log("measured again, since nothing says after which freeze they were", shards=len(late))
        folder.forget(late)
    folder.write_json(PART, {"part": str(part), "frozen": frozen or before["frozen"]})


def freeze_run(
    run: Path, progress: Progress, *, others: StandIns | None = None, resources: Resources | None = None
) -> tuple[int, str]:
    """Fit signals and policies on the clean shards of a merged folder; how many rows there are, and the hash of it.

    What is frozen already stays as it is.

    Raises:
        RunError: some clean shards are missing.
    """
    refuse_part(run, "freezing it")
    plan = read_plan(run / "plan.toml", (), {})
    others = others or StandIns()
    used = others.settled(resources)
    with (
        blamed(),
        contained(),
        begun_run(plan, run, progress, others, used) as (job, folder, checks, notes),
    ):
        say_harm(folder, progress, notes)
        work = list(shards(job))
        clean = planned(job, [task for task in work if task.condition == CLEAN])
        missing = sorted(set(clean) - folder.intact(clean))
        if missing:
            strike(folder, missing)  # what is there under their names is of other images: a merge would keep it
            raise RunError(
                f"{run} lacks {len(missing)} of {len(clean)} clean shards, first {missing[0]}. Measure every part with "
                "`demur audit … --shard i/N`, and merge them first."
            )
        folder.write_json("facts/preflight.json", checks)
        folder.times.note_beginning()
        fitted = fit_first(job, folder, work, progress)
        progress.say("fitting policies")
        with folder.timed("policies"):
            freeze_policies(fitted, folder)
    return sum(len(each.rows) for each in clean.values()), frozen_sha256(run)
