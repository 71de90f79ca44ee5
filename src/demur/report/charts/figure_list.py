"""The figures that stand at the end of a section, with the section and a caption each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from demur.analysis.results import Results
from demur.report.charts.chart_theme import Drawing
from demur.report.charts.class_ranking_chart import class_ranking_chart
from demur.report.charts.condition_charts import accuracy_bars, rejection_bars
from demur.report.charts.confusion_charts import confusion_charts
from demur.report.charts.entropy_charts import correlation_words, entropy_charts, layer_charts
from demur.report.charts.roc_chart import roc_chart

ALONE = ""
"""The section of a figure that the page has as a table."""

_ENDS = "Lines are 95 % intervals."
_BOXES = "thin line 5th to 95th percentile, thick the middle half, mark the median."
_SECTIONS: Mapping[str, str] = {
    "accuracy-conditions": "conditions",
    "rejections": "conditions",
    "roc": "signals",
    "layers": "signals",
    "entropy-histogram": "scores",
    "entropy-correctness": "scores",
    "entropy-confidence": "scores",
    "confusion-clean": ALONE,
    "confusion-attack": "confusion",
    "class-ranking": "classes",
}
_CAPTIONS: Mapping[str, str] = {
    "accuracy-conditions": f"Accuracy under every condition, every image answered. {_ENDS}",
    "rejections": (
        "Share of test images abstained on at one threshold, which was set on clean tune images; the dotted line is "
        f"its rate there. {_ENDS}"
    ),
    "roc": (
        "Clean images that nothing was fitted on: each signal at every threshold, each policy at its own with 95 % "
        "intervals. Up and to the left is better; the dotted diagonal is chance."
    ),
    "layers": f"What the signal reads in each layer of test images: {_BOXES}",
    "entropy-histogram": (
        "Entropy of right and wrong answers to clean images that nothing was fitted on; heights follow the square "
        "root of the count."
    ),
    "entropy-correctness": f"The same images: {_BOXES}",
    "entropy-confidence": (
        "Entropy against stated confidence of at most 400 of these images, sampled by the hash of their ids."
    ),
    "confusion-clean": "Counts by true class and answer:",
    "confusion-attack": "Counts by true class and answer under the attack that fools most:",
    "class-ranking": (
        "Accuracy by class on clean images, every image answered; intervals are 95 % for all classes at once. Classes "
        "of fewer than six images are left out, of many classes both ends are shown."
    ),
}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A drawing, the section of the page it belongs to, and what stands below it."""

    drawing: Drawing
    section: str
    caption: str


def placed_figures(results: Results) -> tuple[Figure, ...]:
    """Every such figure there is something to draw for."""
    return tuple(_placed(drawing, more) for drawing, more in _drawn(results) if drawing is not None)


def by_section(figures: tuple[Figure, ...]) -> Mapping[str, list[Figure]]:
    """The figures of each section, in order."""
    found: dict[str, list[Figure]] = {}
    for figure in figures:
        found.setdefault(figure.section, []).append(figure)
    return found


def _placed(drawing: Drawing, more: str) -> Figure:
    kind = drawing.name if drawing.name in _SECTIONS else "layers"
    return Figure(drawing=drawing, section=_SECTIONS[kind], caption=f"{_CAPTIONS[kind]} {more}".strip())


def _drawn(results: Results) -> Iterator[tuple[Drawing | None, str]]:
    """Each drawing, and what its caption says beyond what it always does."""
    yield accuracy_bars(results), ""
    yield rejection_bars(results), ""
    yield roc_chart(results), ""
    entropy = None if results.figures is None else results.figures.entropy
    for drawing in entropy_charts(results):
        yield drawing, correlation_words(entropy) if entropy and drawing.name == "entropy-correctness" else ""
    for drawing in layer_charts(results):
        yield drawing, ""
    for drawing, shown in confusion_charts(results):
        yield drawing, f"{shown}."
    yield class_ranking_chart(results), ""
