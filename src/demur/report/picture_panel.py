"""What the page's panel of pictures is made of: the sheets once, and of each image where it is and what was said."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from demur.analysis.figures.image_pictures import PictureColumns, PictureTable
from demur.analysis.results import Results
from demur.report.charts.condition_charts import condition_names
from demur.seal import is_intact


def panel(results: Results) -> dict[str, Any] | None:
    """The data of the panel; None where no pictures were kept, or not all of their files are as they were written.

    `changed` holds a group of pictures for each condition, in the order of the conditions; `lane` is the row of the
    histograms that counts its images.
    """
    found = None if results.figures is None else results.figures.pictures
    sheets = None if found is None or results.folder is None else _sheets(results.folder, found.sheets)
    if found is None or sheets is None:
        return None
    rows = {row.condition: row for row in results.conditions}
    names = condition_names(results)
    return {
        "tile": {name: getattr(found, name) for name in ("width", "height", "columns", "rows")},
        "sheets": sheets,
        "classes": results.classes,
        "errors": found.errors,
        "surest": found.surest,
        "clean": _columns(found.clean),
        "changed": [
            {
                "condition": each.condition,
                "name": names.get(each.condition, "images of none of the classes"),
                "sentence": rows[each.condition].sentence if each.condition in rows else "",
                "flips": each.flips,
                "lane": each.outcome,
                **_columns(each.images),
            }
            for each in found.changed
        ],
    }


def has_errors_of(found: PictureTable | None, label: int) -> bool:
    """Whether a picture of a wrong answer to an image of this class was kept."""
    if found is None:
        return False
    pairs = zip(found.clean.labels, found.clean.predicted, strict=True)
    return any(own == label != answer for own, answer in pairs)


def _columns(found: PictureColumns) -> dict[str, Any]:
    return found.model_dump(mode="json")


def _sheets(folder: Path, names: Sequence[str]) -> list[str] | None:
    """Each sheet as a data URI."""
    paths = {name: folder / "thumbs" / name for name in names}
    if not all(is_intact(folder, f"thumbs/{name}") for name in paths):
        return None
    contents = [base64.b64encode(path.read_bytes()).decode() for path in paths.values()]
    return [f"data:image/webp;base64,{content}" for content in contents]
