"""`demur compare`: run folders on the same images, image by image."""

from pathlib import Path
from typing import Annotated

import typer


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Run folders; each is compared with the first.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")] = False,
) -> None:
    """Compare audits of several models on the same images: right answers, and how far the images must change."""
    from demur.analysis.compare import compare
    from demur.cli.compare_words import words
    from demur.openings import note

    found = compare(runs)
    for run in runs:
        note(run, "test", "compare")
    print(found.model_dump_json(indent=1) if json else "\n".join(words(found)))
