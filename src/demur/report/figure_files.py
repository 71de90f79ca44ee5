"""Every figure of a report as a file of its own, ready to print."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, Literal, TypeAlias

import vl_convert

from demur.analysis.results import Results
from demur.report.charts import Drawing
from demur.report.charts.figure_list import Figure, placed_figures
from demur.report.charts.picture_figures import picture_figures
from demur.report.page import asset, drawings
from demur.report.state_words import reportable
from demur.seal import write_sealed

FigureFormat: TypeAlias = Literal["svg", "png", "pdf"]

FOLDER, CAPTIONS = "figures", "captions.md"
_WIDTH, _DOTS = 620, 300
_POINTS = 72
_MOST = 12
_CAPTIONS: Mapping[str, str] = {
    "risk-coverage": (
        "Share of wrong answers against the share of images answered, clean images of the test split, at every "
        "threshold of each signal; the strong line is the signal named in the certificate or else the first."
    ),
    "reliability": (
        "Share of right answers against stated confidence, all clean held-out images; bars are 95 % intervals, small "
        "numbers count images."
    ),
    "accuracy-eps": "Accuracy under attack, every image answered; bars and bands are 95 % intervals.",
    "accuracy-severity": "Accuracy under corruption, every image answered; bars are 95 % intervals.",
}
_FONT = "Liberation Sans, Arial, Helvetica, sans-serif"


def write_figures(run: Path, results: Results, kind: FigureFormat) -> list[Path]:
    """Write `figures/<name>.<kind>` for every figure there is data for, and `figures/captions.md`.

    The same drawings as the page has, on white, 620 points wide; PNG at 300 dots an inch. A figure that the page
    switches between signals is one file for each of at most 12 of them.

    Args:
        run: the folder that gets them.
        results: what is drawn; nothing else is.
        kind: the format.
    """
    found = list(figures(results))
    contents = {f"{FOLDER}/{figure.drawing.name}.{kind}": drawn_file(figure, kind) for figure in found}
    captions = f"{FOLDER}/{CAPTIONS}"
    write_sealed(run, {**contents, captions: _captions(found, kind).encode()})
    return [run / name for name in (*contents, captions)]


def figures(results: Results) -> Iterator[Figure]:
    """Every figure, with a caption each."""
    shown = reportable(results)
    for drawing in drawings(shown).values():
        if drawing.name == "histograms":
            yield from _by_signal(drawing, shown)
        else:
            yield Figure(drawing=drawing, section="", caption=_CAPTIONS.get(drawing.name, drawing.alt))
    yield from placed_figures(shown)
    for drawing, caption in picture_figures(shown):
        yield Figure(drawing=drawing, section="", caption=caption)


def print_spec(drawing: Drawing) -> dict[str, Any]:
    """The specification in the light theme's colours on white, of a fixed width, in a font that files can count on."""
    colours = _colours()
    text = re.sub(r"var\((--[\w-]+)\)", lambda found: colours[found[1]], json.dumps(drawing.spec))
    spec = json.loads(text)
    config = spec["config"] | {"background": "white", "font": _FONT, "padding": 12}
    config["autosize"] = {"type": "pad", "contains": "padding"}
    return spec | {"width": _WIDTH, "description": drawing.alt, "config": config}


@cache
def _colours() -> Mapping[str, str]:
    """The variables of the light theme, which stands first in the style sheet."""
    light = asset("style.css").partition("}")[0]
    return dict(re.findall(r"(--[\w-]+):\s*([^;]+);", light))


def _by_signal(drawing: Drawing, results: Results) -> Iterator[Figure]:
    units = {row.name: row.unit for row in results.signals}
    for name in [histogram.signal for histogram in results.histograms][:_MOST]:
        spec = json.loads(json.dumps(drawing.spec))
        spec["params"] = [param | {"value": name} if param["name"] == "shown" else param for param in spec["params"]]
        spec["datasets"]["rows"] = [row for row in spec["datasets"]["rows"] if row["signal"] == name]
        spec["layer"][0]["encoding"]["x"]["axis"]["title"] = f"{name}, in {units.get(name, 'its unit')}"
        own = Drawing(name=f"histograms-{_slug(name)}", alt=f"{drawing.alt} Signal: {name}.", spec=spec)
        words = "Scores of images answered right, answered wrong, corrupted and attacked; heights are square roots."
        yield Figure(drawing=own, section="", caption=f"{name}: {words}")


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def drawn_file(figure: Figure, kind: FigureFormat) -> bytes:
    """A figure as the content of a file."""
    spec = json.dumps(print_spec(figure.drawing))
    if kind == "png":
        return vl_convert.vegalite_to_png(spec, scale=_DOTS / _POINTS, ppi=_POINTS)
    if kind == "pdf":
        return vl_convert.vegalite_to_pdf(spec)
    drawn = vl_convert.vegalite_to_svg(spec)
    start = drawn.index(">") + 1
    words = f"<title>{escape(figure.caption)}</title><desc>{escape(figure.drawing.alt)}</desc>"
    return f'{drawn[: start - 1]} role="img">{words}{drawn[start:]}'.encode()


def _captions(found: list[Figure], kind: FigureFormat) -> str:
    """What stands below each figure, and what a reader hears who cannot see it."""
    parts = [
        f"## {figure.drawing.name}.{kind}\n\n{figure.caption}\n\nIn words: {figure.drawing.alt}\n" for figure in found
    ]
    return "\n".join(["# Figures\n", *parts])
