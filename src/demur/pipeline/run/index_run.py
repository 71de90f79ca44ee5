"""An index of the images of a plan, made once and read by all parts of an audit; itself in parts, if so."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from demur.containment import contained
from demur.data.index_files import is_written, write_scan
from demur.data.lost_images import LostIds
from demur.foreign import blamed
from demur.pipeline.plan.plan_file import Plan
from demur.pipeline.run.begun import run_lock
from demur.pipeline.run.crashes import READING
from demur.pipeline.run.deadly_files import without_deadly_files
from demur.pipeline.run.effort import Progress
from demur.pipeline.run.part_run import Part
from demur.pipeline.run.prepare import StandIns, images_and_model, unknown_source
from demur.pipeline.run.resources import Resources
from demur.pipeline.run.shared_scan import SharedScan


@dataclass(frozen=True, kw_only=True)
class Indexed:
    """What a part of an index has: how many images it read now, and how many there are in it and in all."""

    folder: Path
    read: int
    own: int
    all: int


def write_index(
    plan: Plan,
    part: Part,
    out: Path,
    progress: Progress,
    *,
    others: StandIns | None = None,
    resources: Resources | None = None,
) -> Indexed:
    """Read a part of the images of a plan, and of its unknown ones, and keep what is to be known of them.

    What is there already is not read again. An image that ends the process that decodes it is a row with the reason.

    Raises:
        InputError: something that is named cannot be used, or the folder is of other images.
        RunError: another process makes this part.
    """
    others = others or StandIns()
    used = (resources or Resources()).settled(alone=others.in_memory)
    if used.threads is not None:
        torch.set_num_threads(used.threads)
    folder = out / f"{part.number}-of-{part.count}"

    def share(rows: int) -> range:
        return range(rows * (part.number - 1) // part.count, rows * part.number // part.count)

    with blamed(), contained(), ExitStack() as stack:
        plan, source, _ = images_and_model(plan, others, LostIds())
        sources, count = [source, *unknown_source(plan, source, others, LostIds())], 0
        flight = run_lock(folder, stack)
        missing = [not is_written(folder, each, share(len(each)), labelled=not at) for at, each in enumerate(sources)]
        if any(missing):
            sources = list(without_deadly_files(sources, flight, progress.say, share))
        for at, each in enumerate(sources):
            if missing[at]:
                progress.say("reading the images")
                with flight.at(READING):
                    rows = SharedScan(used, progress.say)(each, labelled=not at, positions=share(len(each)))
                write_scan(folder, each, rows, share(len(each)).start, labelled=not at)
                count += len(rows)
    return Indexed(
        folder=folder, read=count, own=sum(len(share(len(each))) for each in sources), all=sum(map(len, sources))
    )
