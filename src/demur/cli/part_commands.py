"""`demur audit --shard`, `demur merge`, `demur freeze`: an audit in parts that need not know of each other."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from demur.cli.run_folders import RunFolder
from demur.cli.settings import (
    EngineAddress,
    EngineName,
    GpusPerTask,
    ImageMemory,
    IndexFolder,
    MemoryPerTask,
    Threads,
    Workers,
    progress_display,
    status,
)
from demur.errors import InputError
from demur.remote import addressed

if TYPE_CHECKING:
    from demur.pipeline.plan.plan_file import Plan
    from demur.pipeline.run.merged_parts import Merged
    from demur.pipeline.run.resources import Resources

Run = Annotated[Path, typer.Argument(help="Run folder that `demur merge` wrote."), RunFolder()]
Device = Annotated[str | None, typer.Option(help="Where the model runs, such as cuda; by default the CPU.")]
Shard = Annotated[
    str | None, typer.Option(metavar="i/N", help="Measure part i of N only, from 1/N to N/N; then demur merge.")
]
Frozen = Annotated[
    Path | None,
    typer.Option(metavar="RUN", help="With --shard: the frozen run folder; measures all but the clean shards."),
    RunFolder(),
]

_NAMED = 3


def audit_part(
    chosen: "Plan", shard: str | None, frozen: Path | None, out: Path | None, device: str | None, use: "Resources"
) -> None:
    """Measure one part of an audit, and say what comes next."""
    from demur.pipeline.run.begun import default_folder
    from demur.pipeline.run.part_run import Part, measure_part
    from demur.pipeline.run.prepare import StandIns

    if shard is None:
        raise InputError("--frozen RUN is for the parts of an audit. Name the part with --shard i/N.")
    part = Part.of(shard)
    place = out or default_folder(chosen).with_name(f"{default_folder(chosen).name}-{part.number}-of-{part.count}")
    with progress_display() as progress:
        done = measure_part(chosen, part, place, progress, frozen=frozen, others=StandIns(device=device), resources=use)
    kind = "other" if done.frozen else "clean"
    print(addressed(f"Part {part}: {done.own} of {done.all} {kind} shards measured, in {done.folder}"))
    print("Next, with every part there: demur merge PART… --out RUN")


def merge(
    parts: Annotated[
        list[Path], typer.Argument(metavar="PART…", help="Folders that demur audit --shard wrote."), RunFolder()
    ],
    out: Annotated[
        Path, typer.Option(metavar="RUN", help="The run folder they become; made if it is not there."), RunFolder()
    ],
    device: Device = None,
    workers: Workers = None,
    threads: Threads = None,
    image_memory: ImageMemory = 512,
    engine: EngineName = "local",
    address: EngineAddress = None,
    gpus_per_task: GpusPerTask = 0.0,
    memory_per_task: MemoryPerTask = None,
    index: IndexFolder = None,
    json: Annotated[bool, typer.Option("--json", help="Print results.json instead of words.")] = False,
) -> None:
    """Put the parts of an audit into one run folder. What no part has is named; of a whole run the report is written.

    Exit status: of a whole run that of the audit; 0 where all clean shards are there and are to be frozen; 3 where
    shards are missing; 2 wrong input.
    """
    from demur.pipeline.run.merged_parts import merge_parts
    from demur.pipeline.run.resources import Resources

    own = Resources(workers=workers, threads=threads, image_memory=image_memory, index=index)
    use = own.with_engine(engine, address, gpus_per_task, memory_per_task)
    found = merge_parts(parts, out)
    for note in found.notes:
        print(addressed(note), file=sys.stderr)
    print(addressed(f"Merged {found.added} shards into {out}; {found.there} were there already."), file=sys.stderr)
    if not found.whole:
        print(addressed(_missing(found)))
        raise typer.Exit(3 if found.missing_clean or found.frozen else 0)
    words, code = _finished(out, device, use)
    print((out / "results.json").read_text("utf-8") if json else addressed(words))
    raise typer.Exit(code)


def _missing(found: "Merged") -> str:
    if not found.missing_clean and not found.frozen:
        return f"Every clean shard is there. Next: demur freeze {found.folder}"
    kind, names = ("clean", found.missing_clean) if found.missing_clean else ("other", found.missing)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    frozen = "" if found.missing_clean else f" --frozen {found.folder}"
    return (
        f"{len(names)} {kind} shards are missing: {', '.join(names[:_NAMED])}{more}. Run `demur audit … --shard "
        f"i/N{frozen}` of the parts that did not end, and merge again."
    )


def _finished(run: Path, device: str | None, use: "Resources") -> tuple[str, int]:
    """What is no row is worked out, the run is sealed, and the results are told."""
    from demur.analysis import write_results
    from demur.pipeline.plan.plan_file import read_plan
    from demur.pipeline.run.loop import run_plan
    from demur.report import write

    with progress_display() as progress:
        run_plan(read_plan(run / "plan.toml", (), {}), run, progress, device=device, resources=use)
        progress.say("working out the results")
        results = write_results(run, by="audit")
        report = write(run, results)
    return f"{report.words}\nReport: {report.path}", status(results)


def freeze(
    run: Run,
    device: Device = None,
    workers: Workers = None,
    threads: Threads = None,
    image_memory: ImageMemory = 512,
    index: IndexFolder = None,
) -> None:
    """Fix what the clean shards decide: fitted signals, thresholds and certificates; before any other is measured."""
    from demur.pipeline.run.part_run import freeze_run
    from demur.pipeline.run.prepare import StandIns
    from demur.pipeline.run.resources import Resources

    use = Resources(workers=workers, threads=threads, image_memory=image_memory, index=index)
    with progress_display() as progress:
        rows, sha256 = freeze_run(run, progress, others=StandIns(device=device), resources=use)
    print(f"Frozen on {rows:,} clean rows: {sha256}")
    print(addressed(f"Next, every part again: demur audit … --shard i/N --frozen {run}"))
