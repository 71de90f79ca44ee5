"""Result tables in, one self-contained HTML page out.

Importing this package is light; jinja2, altair and vl-convert are imported when a page is drawn.
"""

from pathlib import Path

from demur.analysis.results import Results
from demur.errors import RunError
from demur.records import write_atomically

__all__ = ["render", "words", "write"]


def render(results: Results) -> str:
    """The whole report as one HTML document that asks the network for nothing."""
    from demur.report.page import page

    return page(results)


def words(results: Results) -> str:
    """The first screen as plain text: at most 13 lines of at most 100 columns."""
    from demur.report.first_screen import FirstScreen
    from demur.report.text_outputs import plain_text

    return plain_text(FirstScreen.of(results))


def write(run: Path) -> Path:
    """Draw `results.json` of a run folder as `report.html` beside it, and say where it is.

    `junit.xml` and `summary.md` come with it, for machines that gate a release. Each file appears whole or not at all.

    Raises:
        RunError: the folder holds no `results.json`, or one that cannot be read.
    """
    source = run / "results.json"
    try:
        results = Results.model_validate_json(source.read_bytes())
    except FileNotFoundError:
        raise RunError(
            f"a report needs results.json in the run folder; there is none in {str(run)!r}. "
            "Give the folder of a finished audit."
        ) from None
    except ValueError as error:
        first = str(error).splitlines()[0]
        raise RunError(
            f"results.json must follow the schema of this version of demur; {str(source)!r} does not ({first}). "
            "Run the audit again, or read it with the version that wrote it."
        ) from None
    from demur.report.text_outputs import junit, summary

    target = run / "report.html"
    for path, text in (
        (run / "junit.xml", junit(results)),
        (run / "summary.md", summary(results)),
        (target, render(results)),
    ):
        write_atomically(path, text.encode())
    return target
