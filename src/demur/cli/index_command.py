"""`demur index`: what is to be known of the images before anything is measured, read once for all parts of an audit."""

from pathlib import Path
from typing import Annotated

import typer

from demur.cli.settings import Data, Model, PlanFile, Settings, Threads, Unknown, Workers, progress_display, read

Out = Annotated[Path, typer.Option(metavar="DIR", help="Folder of the index, common to its parts; made if not there.")]
Shard = Annotated[str | None, typer.Option(metavar="i/N", help="Read part i of N of the images only, from 1/N to N/N.")]


def index(
    out: Out,
    model: Model = None,
    data: Data = None,
    plan: PlanFile = None,
    set_: Settings = None,
    unknown: Unknown = None,
    shard: Shard = None,
    workers: Workers = None,
    threads: Threads = None,
) -> None:
    """Read all images once and keep what decides their splits, so that the parts of an audit need not: `--index DIR`.

    The same command again reads what is missing.
    """
    chosen = read(model, data, plan, set_, None, None, None, None, unknown=unknown)
    from demur.pipeline.run.index_run import write_index
    from demur.pipeline.run.part_run import Part
    from demur.pipeline.run.resources import Resources

    part = Part.of(shard or "1/1")
    with progress_display() as progress:
        done = write_index(chosen, part, out, progress, resources=Resources(workers=workers, threads=threads))
    there = "" if done.read == done.own else f"; {done.own - done.read:,} were there already"
    print(f"Part {part}: {done.read:,} of {done.all:,} images read{there}, in {done.folder}")
    print(f"Next, once every part is there: demur audit … --index {out}")
