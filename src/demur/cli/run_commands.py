"""`demur audit`, `demur report`, `demur plan`, `demur list`."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from demur.cli.estimate_command import (
    AsJson,
    Counted,
    Estimated,
    Price,
    print_estimate,
    refuse_without_estimate,
)
from demur.cli.estimate_command import Device as EstimateDevice
from demur.cli.part_commands import Frozen, Shard, audit_part
from demur.cli.run_folders import RunFolder
from demur.cli.settings import (
    AttackSignal,
    Batch,
    Coverage,
    Data,
    EngineAddress,
    EngineName,
    GpusPerTask,
    GuardFolder,
    ImageMemory,
    IndexFolder,
    Limit,
    MemoryPerTask,
    Model,
    PlanFile,
    Prevalence,
    Risk,
    Seed,
    Settings,
    Threads,
    Unknown,
    Workers,
    read,
    refuse_beside,
    resources_of,
    results_alone,
    status,
)
from demur.cli.shard_scripts import ScriptFormat, shard_script
from demur.containment import keep_freed_memory
from demur.errors import MissingExtraError, needing_torch, unknown
from demur.registry import TABLES, description, names, plug_ins, refusal
from demur.remote import addressed

if TYPE_CHECKING:
    from demur.pipeline.plan.plan_file import Plan
    from demur.pipeline.run.resources import Resources


class ReportRows(StrEnum):
    """Which rows a report holds."""

    AUTO = "auto"
    ALL = "all"
    COUNTED = "counted"


class FigureFormat(StrEnum):
    """What figures are written as."""

    SVG = "svg"
    PNG = "png"
    PDF = "pdf"


Out = Annotated[
    Path | None,
    typer.Option(help="Run folder, here or s3://…; by default runs/<model>-<data>-<plan>."),
    RunFolder(),
]


def audit(
    model: Model = None,
    data: Data = None,
    plan: PlanFile = None,
    set_: Settings = None,
    out: Out = None,
    limit: Limit = None,
    risk: Risk = None,
    coverage: Coverage = None,
    batch: Batch = None,
    seed: Seed = None,
    prevalence: Prevalence = None,
    unknown: Unknown = None,
    guard: GuardFolder = None,
    attack_signal: AttackSignal = None,
    device: Annotated[str | None, typer.Option(help="Where the model runs, such as cuda; by default the CPU.")] = None,
    workers: Workers = None,
    threads: Threads = None,
    image_memory: ImageMemory = 512,
    engine: EngineName = "local",
    address: EngineAddress = None,
    gpus_per_task: GpusPerTask = 0.0,
    memory_per_task: MemoryPerTask = None,
    shard: Shard = None,
    frozen: Frozen = None,
    index: IndexFolder = None,
    json: Annotated[bool, typer.Option("--json", help="Print results.json instead of words.")] = False,
) -> None:
    """Audit a classifier on labelled images. Without arguments: the shipped classifier on Fashion-MNIST.

    Exit status: 0 guarantee issued, if asked for, and all gates passed; 1 refused, or the measurement or a gate failed;
    2 wrong input; 3 nothing was asked, or a gate is inconclusive; 130 interrupted, and the same command continues.
    """
    keep_freed_memory()
    chosen = read(model, data, plan, set_, limit, risk, batch, seed, prevalence, coverage, unknown, attack_signal)
    chosen = _guarded(chosen, guard, risk=risk, coverage=coverage, attack_signal=attack_signal)
    use = resources_of(workers, threads, image_memory, engine, address, gpus_per_task, memory_per_task, index)
    if shard is not None or frozen is not None:
        return audit_part(chosen, shard, frozen, out, device, use)
    return _print_audit(chosen, out, device, use, json=json)


def _guarded(chosen: "Plan", guard: Path | None, **others: object) -> "Plan":
    """The plan with the guard that is audited, if one is, beside which nothing chooses another policy."""
    if guard is None:
        return chosen
    refuse_beside("--guard", "the policy of a guard", **others)
    return chosen.with_guard(guard)


def _print_audit(chosen: "Plan", out: Path | None, device: str | None, use: "Resources", *, json: bool) -> None:
    folder, words, code = _audited(chosen, out, device, use)
    print((folder / "results.json").read_text("utf-8") if json else addressed(words))
    raise typer.Exit(code)


def _audited(chosen: "Plan", out: Path | None, device: str | None, resources: "Resources") -> tuple[Path, str, int]:
    """The run folder of a plan, what was found in words, and the exit status."""
    from demur.analysis import write_results
    from demur.cli.settings import progress_display
    from demur.pipeline.run.loop import run_plan
    from demur.report import write

    with progress_display() as progress:
        folder = run_plan(chosen, out, progress, device=device, resources=resources)
        progress.say("working out the results")
        results = write_results(folder, by="audit")
        report = write(folder, results)
    return folder, f"{report.words}\nReport: {report.path}", status(results)


def report(
    run: Annotated[Path, typer.Argument(help="Run folder that an audit wrote."), RunFolder()],
    figures: Annotated[
        FigureFormat | None, typer.Option(help="Write every figure as a file of this format to figures/, too.")
    ] = None,
    rows: Annotated[
        ReportRows, typer.Option(help="Hold all rows, or count them and hold a sample; auto: by their number.")
    ] = ReportRows.AUTO,
    json: Annotated[bool, typer.Option("--json", help="Print results.json instead of words.")] = False,
) -> None:
    """Rebuild results.json, report.html, junit.xml and summary.md from the records of a run."""
    from demur.analysis import write_results
    from demur.report import write, write_figures

    results = write_results(run, rows=rows.value)
    page = write(run, results)
    files = [] if figures is None else write_figures(run, results, figures.value)
    also = f"\nFigures: {len(files) - 1} files in {run / 'figures'}" if files else ""
    words = addressed(f"{page.words}\nReport: {page.path}{also}")
    print((run / "results.json").read_text("utf-8") if json else words)
    raise typer.Exit(status(results))


def plan(
    model: Model = None,
    data: Data = None,
    plan: PlanFile = None,
    set_: Settings = None,
    limit: Limit = None,
    risk: Risk = None,
    coverage: Coverage = None,
    batch: Batch = None,
    seed: Seed = None,
    prevalence: Prevalence = None,
    unknown: Unknown = None,
    attack_signal: AttackSignal = None,
    shards: Annotated[int | None, typer.Option(help="Print instead the commands that measure it in N parts.")] = None,
    as_: Annotated[
        ScriptFormat, typer.Option("--as", help="With --shards: what runs the parts.")
    ] = ScriptFormat.COMMANDS,
    estimate: Estimated = False,
    machines: Counted = 1,
    workers: Workers = None,
    device: EstimateDevice = None,
    price_per_hour: Price = None,
    json: AsJson = False,
) -> None:
    """Print the resolved plan as TOML, every default written out; its parts as commands; or what it will take."""
    chosen = read(model, data, plan, set_, limit, risk, batch, seed, prevalence, coverage, unknown, attack_signal)
    counted = {"machines": machines > 1, "workers": workers, "device": device, "price": price_per_hour, "json": json}
    refuse_without_estimate(estimate=estimate, **counted)
    if script := shard_script(sys.argv[2:], shards, as_, estimate=estimate):
        print(script, end="")
    elif estimate:
        from demur.pipeline.estimate.plan_estimate import Machines

        print_estimate(chosen, Machines(machines=machines, workers=workers, price=price_per_hour), device, as_json=json)
    else:
        _print_plan(chosen)


def _print_plan(chosen: "Plan") -> None:
    """The plan as an audit would write it out, as far as that can be told here."""
    try:
        with needing_torch("what depends on the images, such as the usual conditions,"):
            from demur.pipeline.run.prepare import written_out
    except MissingExtraError as error:
        print(f"demur: {error} The plan below is whole and lacks only that.", file=sys.stderr)
        print(chosen.toml(), end="")
        return
    with results_alone():
        found, notes = written_out(chosen)
    print("".join(f"demur: {note}\n" for note in notes), end="", file=sys.stderr)
    print(found.toml(), end="")


def list_names(
    kind: Annotated[str | None, typer.Argument(help=f"One of {', '.join(TABLES)}.")] = None,
    name: Annotated[str | None, typer.Argument(help="One of that kind: what it is, its fields, its source.")] = None,
) -> None:
    """List the names that plans and addresses may use, or say what one of them is."""
    if kind is not None and kind not in TABLES:
        raise unknown("kind", kind, TABLES)
    if kind is not None and name is not None:
        with needing_torch(f"to say what {name!r} is"):
            print(description(kind, name))
        return
    for each in TABLES if kind is None else (kind,):
        print(f"{each:<11} {' '.join(names(each))}")
        for plug_in in plug_ins(each):
            why = refusal(plug_in)
            said = f"comes with {plug_in}" if why is None else f"of {plug_in} is refused: {why}"
            print(f"{'':<12}{plug_in.name} {said}")
