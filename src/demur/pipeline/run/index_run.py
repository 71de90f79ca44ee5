"""An index of the images of a plan, made once and read by all parts of an audit; itself in parts, if so."""

import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeAlias

import torch

from demur.containment import contained
from demur.data import Source
from demur.data.index_files import missing_rows, write_scan
from demur.data.lost_images import LostIds
from demur.data.scan import ScannedRow
from demur.foreign import blamed
from demur.pipeline.plan.plan_file import Plan
from demur.pipeline.run.begun import run_lock
from demur.pipeline.run.crashes import READING
from demur.pipeline.run.deadly_files import without_deadly_files
from demur.pipeline.run.effort import Progress
from demur.pipeline.run.flight import Flight
from demur.pipeline.run.part_run import Part
from demur.pipeline.run.prepare import StandIns, images_and_model, unknown_source
from demur.pipeline.run.resources import Resources
from demur.pipeline.run.shared_scan import SharedScan

Stream: TypeAlias = Generator[Sequence[ScannedRow], None, None]
"""Rows as they are read."""

_ROWS = 4096
"""Rows of a piece, after which it is written."""

_SECONDS = 30.0
"""Seconds after which a smaller piece is written, so that a process that is killed loses no more."""


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

    It is written piece by piece, and what is there already is not read again. An image that ends the process that
    decodes it is a row with the reason.

    Raises:
        InputError: something that is named cannot be used, or the folder is of other images.
        RunError: another process makes this part.
    """
    others = others or StandIns()
    used = (resources or Resources()).settled(alone=others.images_in_memory)
    if used.threads is not None:
        torch.set_num_threads(used.threads)
    folder = out / f"{part.number}-of-{part.count}"

    def share(rows: int) -> range:
        return range(rows * (part.number - 1) // part.count, rows * part.number // part.count)

    with blamed(), contained(), ExitStack() as stack:
        plan, source, _ = images_and_model(plan, others, LostIds())
        sources = [source, *unknown_source(plan, source, others, LostIds())]
        flight = run_lock(folder, stack)
        missing = [missing_rows(folder, each, share(len(each)), labelled=not at) for at, each in enumerate(sources)]
        if any(missing):
            progress.say("reading the images")
            gaps = [[*chain(*each)] for each in missing]
            sources = list(without_deadly_files(sources, flight, progress.say, share, gaps))
        scan, count = SharedScan(used, progress.say), 0
        for at, (each, gaps_of) in enumerate(zip(sources, missing, strict=True)):
            for gap in gaps_of:
                with closing(_pieces(scan.parts(each, gap, labelled=not at))) as pieces:
                    count += _write(folder, each, gap, pieces, flight, labelled=not at)
    return Indexed(
        folder=folder, read=count, own=sum(len(share(len(each))) for each in sources), all=sum(map(len, sources))
    )


def _write(folder: Path, source: Source, gap: range, pieces: Stream, flight: Flight, *, labelled: bool) -> int:
    """Write pieces of rows as they are read, and tell how many rows there were; a death after one is another's."""
    done = 0
    while True:
        with flight.at(READING):
            rows = next(pieces, None)
        if rows is None:
            return done
        write_scan(folder, source, rows, gap.start + done, labelled=labelled)
        flight.landed()
        done += len(rows)


def _pieces(parts: Stream) -> Stream:
    """Rows in pieces that are worth a file, at least one; what an interruption finds unwritten is a piece, too."""
    rows, began, count = list[ScannedRow](), time.monotonic(), 0
    try:
        with closing(parts):
            for part in parts:
                rows += part
                if len(rows) >= _ROWS or time.monotonic() - began >= _SECONDS:
                    yield rows
                    rows, began, count = [], time.monotonic(), count + 1
    except KeyboardInterrupt:
        if rows:
            yield rows
        raise
    if rows or not count:
        yield rows
