"""`demur audit`: run a plan, write the records and the report, say the result."""

from pathlib import Path
from typing import Annotated

import typer

from demur.cli.settings import Batch, Data, Limit, Model, PlanFile, Prevalence, Risk, Seed, Settings, read, status


def audit(
    model: Model = None,
    data: Data = None,
    plan: PlanFile = None,
    set_: Settings = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; by default runs/<model>-<data>-<plan>.")] = None,
    limit: Limit = None,
    risk: Risk = None,
    batch: Batch = None,
    seed: Seed = None,
    prevalence: Prevalence = None,
    device: Annotated[str | None, typer.Option(help="Where the model runs, such as cuda; by default the CPU.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print results.json instead of words.")] = False,
) -> None:
    """Audit a classifier on labelled images. Without arguments: the shipped classifier on Fashion-MNIST.

    Exit status: 0 guarantee issued, if asked for, and all gates passed; 1 refused, or the measurement or a gate failed;
    2 wrong input; 3 nothing was asked, or a gate is inconclusive; 130 interrupted, and the same command continues.
    """
    chosen = read(model, data, plan, set_, limit, risk, batch, seed, prevalence)
    from demur.analysis import write_results
    from demur.cli.settings import progress_display
    from demur.pipeline.run.loop import run_plan
    from demur.report import write

    with progress_display() as progress:
        folder = run_plan(chosen, out, progress, device=device)
        progress.say("working out the results")
        results = write_results(folder, by="audit")
        progress.say("writing the report")
        report = write(folder, results)
    print((folder / "results.json").read_text("utf-8") if json else f"{report.words}\nReport: {report.path}")
    raise typer.Exit(status(results))
