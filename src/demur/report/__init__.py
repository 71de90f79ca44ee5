"""Result tables in, one self-contained HTML page out.

Importing this package is light; jinja2, altair and vl-convert are imported when a page is drawn.
"""

import os
import tempfile
from pathlib import Path

from demur.analysis.results import Results
from demur.errors import RunError

__all__ = ["render", "words", "write"]


def render(results: Results) -> str:
    """The whole report as one HTML document that asks the network for nothing."""
    from demur.report.page import page

    return page(results)


def words(results: Results) -> str:
    """The first screen as plain text: at most 13 lines of at most 100 columns."""
    from demur.report.first_screen import FirstScreen
    from demur.report.plain_text import plain_text

    return plain_text(FirstScreen.of(results))


def write(run: Path) -> Path:
    """Draw `results.json` of a run folder as `report.html` beside it, and say where it is.

    The page appears whole or not at all: it is written under a temporary name and renamed.

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
    target = run / "report.html"
    _replace(target, render(results))
    return target


def _replace(target: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        temporary.chmod(0o644)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
