"""Result tables in, one self-contained HTML page out.

Importing this package is light; jinja2, altair and vl-convert are imported when a page is drawn.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from demur.analysis.results import Results
from demur.errors import RunError
from demur.seal import changed, file_sha256, is_intact, read_seal, sha256_of, write_sealed

__all__ = ["Report", "render", "words", "write", "write_figures"]


@dataclass(frozen=True)
class Report:
    """Where a report was written, and its first screen as plain text."""

    path: Path
    words: str


def render(results: Results) -> str:
    """The whole report as one HTML document that asks the network for nothing."""
    from demur.report.first_screen import FirstScreen
    from demur.report.page import page

    return page(results, FirstScreen.of(results))


def words(results: Results) -> str:
    """The first screen as plain text: at most 24 lines of at most 100 columns."""
    from demur.report.first_screen import FirstScreen
    from demur.report.text_outputs import plain_text

    return plain_text(FirstScreen.of(results))


def write(run: Path, results: Results | None = None) -> Report:
    """Draw the results of a run folder as `report.html` in it.

    `junit.xml` and `summary.md` come with it, for machines that gate a release. Each file appears whole or not at all.

    Args:
        run: the folder.
        results: what its `results.json` holds, where that is at hand; else it is read.

    Raises:
        RunError: the folder holds no `results.json`, one that cannot be read, or one that was changed.
    """
    from demur.report.first_screen import FirstScreen
    from demur.report.page import page
    from demur.report.text_outputs import junit, plain_text, summary

    results = (_read(run) if results is None else results).of_folder(run)
    first, target = FirstScreen.of(results), run / "report.html"
    if not _is_drawn(run, results):
        texts = {"junit.xml": junit(results), "summary.md": summary(results, first), target.name: page(results, first)}
        write_sealed(run, {name: text.encode() for name, text in texts.items()})
    return Report(target, plain_text(first))


def write_figures(run: Path, results: Results, kind: Literal["svg", "png", "pdf"]) -> list[Path]:
    """Every figure of a report as `figures/<name>.<kind>` in the run folder, with `figures/captions.md` beside them."""
    from demur.report.figure_files import write_figures as write_files

    return write_files(run, results.of_folder(run), kind)


def _is_drawn(run: Path, results: Results) -> bool:
    """Whether the files are there as they were drawn, from these very results."""
    of_these = file_sha256(run / "results.json") == sha256_of(results.text.encode())
    return of_these and all(is_intact(run, name) for name in ("results.json", "junit.xml", "summary.md", "report.html"))


def _read(run: Path) -> Results:
    source = run / "results.json"
    if source.name in (read_seal(run) or {}) and not is_intact(run, source.name):
        raise changed(run, source.name)
    try:
        return Results.model_validate_json(source.read_bytes())
    except FileNotFoundError:
        raise RunError(
            f"a report needs results.json in the run folder; there is none in {str(source.parent)!r}. "
            "Give the folder of a finished audit."
        ) from None
    except ValueError as error:
        first = str(error).splitlines()[0]
        raise RunError(
            f"results.json must follow the schema of this version of demur; {str(source)!r} does not ({first}). "
            "Run the audit again, or read it with the version that wrote it."
        ) from None
