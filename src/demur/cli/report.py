"""`demur report`: work out the results of a run folder again and write its report."""

from pathlib import Path
from typing import Annotated

import typer

from demur.cli.status import status


def report(
    run: Annotated[Path, typer.Argument(help="Run folder that an audit wrote.")],
    json: Annotated[bool, typer.Option("--json", help="Print results.json instead of words.")] = False,
) -> None:
    """Rebuild results.json, report.html, junit.xml and summary.md from the records of a run."""
    from demur.analysis import write_results
    from demur.errors import RunError
    from demur.report import words, write

    if not (run / "run.json").exists():
        raise RunError(
            f"{run} is not a run folder: it has no run.json. Name a folder that an audit has begun, such as one under "
            "runs/."
        )
    results = write_results(run)
    page = write(run)
    print((run / "results.json").read_text() if json else f"{words(results)}\nReport: {page}")
    raise typer.Exit(status(results))
