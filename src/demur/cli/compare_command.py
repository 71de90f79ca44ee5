"""`demur compare`: runs on the same images side by side, in words, as JSON, or as a page."""

from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperCommand

from demur.cli.run_folders import RunFolder

PAGE = "comparison.html"
_HTML = "--html"
_ENDINGS = (".html", ".htm")


class PageCommand(TyperCommand):
    """A command whose `--html` may go without a file: one is named for it unless a name of a page follows."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """The arguments, the default file among them."""
        return TyperCommand.parse_args(self, ctx, list(_filled(args)))


def _filled(args: list[str]) -> list[str]:
    found = []
    for at, argument in enumerate(args):
        found.append(argument)
        if argument == _HTML and not (at + 1 < len(args) and args[at + 1].endswith(_ENDINGS)):
            found.append(PAGE)
    return found


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Run folders; each is compared with the first."), RunFolder()
    ],
    html: Annotated[
        Path | None, typer.Option(_HTML, metavar="[FILE]", help=f"Write one page, too; by default {PAGE}.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")] = False,
) -> None:
    """Compare audits of several models on the same images: did hardening help, and which differences are noise?"""
    from demur.analysis.compare_runs import compare
    from demur.cli.comparison_words import compare_words
    from demur.openings import note
    from demur.report.comparison_page import write_comparison

    found = compare(runs)
    for run in runs:
        note(run, "test", "compare")
    page = None if html is None else write_comparison(html, found)
    words = [*compare_words(found), *([] if page is None else ["", f"Page: {page}"])]
    print(found.model_dump_json(indent=1) if json else "\n".join(words))
