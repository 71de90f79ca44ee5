"""`demur audit`: run a plan, write the records and the report, say the result."""

from pathlib import Path
from typing import Annotated

import typer

from demur.cli import settings
from demur.cli.status import status


def audit(
    model: settings.Model = None,
    data: settings.Data = None,
    plan: settings.PlanFile = None,
    set_: settings.Settings = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; by default runs/<model>-<data>-<plan>.")] = None,
    limit: settings.Limit = None,
    risk: settings.Risk = None,
    batch: settings.Batch = None,
    seed: settings.Seed = None,
    prevalence: settings.Prevalence = None,
    device: Annotated[str | None, typer.Option(help="Where the model runs, such as cuda; by default the CPU.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print results.json instead of words.")] = False,
) -> None:
    """Audit a classifier on labelled images. Without arguments: the shipped classifier on Fashion-MNIST."""
    chosen = settings.read(model, data, plan, set_, limit, risk, batch, seed, prevalence)
    from demur.analysis import write_results
    from demur.audit.loop import audit as run_audit
    from demur.cli.progress import shown_progress
    from demur.report import words, write

    with shown_progress() as progress:
        folder = run_audit(chosen, out, progress, device=device)
        progress.say("working out the results")
        results = write_results(folder, by="audit")
        progress.say("writing the report")
        report = write(folder)
    print((folder / "results.json").read_text() if json else f"{words(results)}\nReport: {report}")
    raise typer.Exit(status(results))
