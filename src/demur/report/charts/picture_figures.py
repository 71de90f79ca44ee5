"""Kept pictures as figures: the most confident errors, and where each map looks."""

import base64
import io
from collections.abc import Iterator, Sequence
from typing import Any

import altair as alt

from demur.analysis.results import Results
from demur.report.charts.chart_theme import Drawing, Rows, main
from demur.report.phrases import percent

_ACROSS, _ROWS, _SIDE = 6, 8, 92
_URI = "data:image/webp;base64,"


def picture_figures(results: Results) -> Iterator[tuple[Drawing, str]]:
    """A grid of the most confident errors, and one of images beside their maps; each with its caption."""
    errors = [_error(at, picture) for at, picture in enumerate(results.gallery) if picture.thumb]
    if errors:
        yield _grid("errors", "The most confident errors.", errors), "The errors that the model was most sure of."
    maps = list(_maps(results))
    if maps:
        words = "Images beside their maps, half of them answered wrong as far as there are such."
        yield _grid("overlays", "Images and where each map looks.", maps), words


def _error(at: int, picture: Any) -> dict[str, Any]:
    return _cell(
        at % _ACROSS, at // _ACROSS, picture.thumb, f"{picture.predicted} ({percent(picture.confidence)})",
        f"in truth {picture.label}",
    )  # fmt: skip


def _maps(results: Results) -> Iterator[dict[str, Any]]:
    """A row for each image: as it is, then every map over it."""
    rows = () if results.attribution is None else tuple(row for row in results.attribution.maps if row.pictures)
    for column, row in enumerate(rows):
        for at, picture in enumerate(row.pictures[:_ROWS]):
            if column == 0 and picture.image:
                yield _cell(0, at, picture.image, picture.predicted, f"in truth {picture.label}")
            if picture.overlay:
                yield _cell(column + 1, at, picture.overlay, row.condition, "")


def _cell(column: int, row: int, uri: str, first: str, second: str) -> dict[str, Any]:
    return {"column": column, "row": row, "picture": _as_png(uri), "first": first, "second": second}


def _as_png(uri: str) -> str:
    """The same picture as PNG, which every format may hold; as it is where there is no Pillow."""
    try:
        from PIL import Image
    except ImportError:
        return uri
    buffer = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(uri.removeprefix(_URI)))).save(buffer, "png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _grid(name: str, text: str, rows: Sequence[dict[str, Any]]) -> Drawing:
    """Pictures in rows and columns, with two lines below each."""
    cells: Rows = list(rows)
    across, down = (1 + max(row[key] for row in cells) for key in ("column", "row"))
    x = alt.X("column:Q", axis=None, scale=alt.Scale(domain=[-0.5, across - 0.5], nice=False))
    y = alt.Y("row:Q", axis=None, scale=alt.Scale(domain=[down - 0.35, -0.5], nice=False))
    base = main().encode(x=x, y=y)
    label = base.mark_text(dy=_SIDE / 2 + 9, fontSize=11, limit=_SIDE + 14, color="var(--ink)", fontWeight=600)
    chart = alt.layer(
        base.mark_image(width=_SIDE, height=_SIDE).encode(url="picture:N"),
        label.encode(text="first:N"),
        base.mark_text(dy=_SIDE / 2 + 22, fontSize=10, limit=_SIDE + 14).encode(text="second:N"),
    )
    return Drawing.of(name, text, chart, cells, height=round((_SIDE + 36) * (down + 0.15)))
