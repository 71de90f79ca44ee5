"""What is taken for what: a matrix of few classes, the fullest pairs of many, clean and under attack."""

from collections.abc import Iterator
from typing import Any

import altair as alt

from demur.analysis.figures.confused_pairs import FEW_CLASSES, ConfusedPairs
from demur.analysis.results import Results
from demur.report.charts.chart_theme import Drawing, Rows, main, number
from demur.report.charts.condition_charts import condition_names

_WORDS = alt.value("var(--paper)"), alt.value("var(--ink)")
_CELL, _FRAME, _LINE = 25, 110, 17


def confusion_charts(results: Results) -> Iterator[tuple[Drawing, str]]:
    """A chart of the clean images and one of the attack that fools most, each with what it shows in words."""
    names = condition_names(results)
    for at, found in enumerate(() if results.figures is None else results.figures.pairs):
        if found.pairs:
            shown = "images as they are" if at == 0 else names.get(found.condition, found.condition)
            draw = _matrix if len(results.classes) <= FEW_CLASSES else _ranking
            name = "confusion-clean" if at == 0 else "confusion-attack"
            yield draw(name, shown, found, results.classes), shown


def _matrix(name: str, shown: str, found: ConfusedPairs, classes: tuple[str, ...]) -> Drawing:
    """Rows are what the image shows; the colour of a cell is its part of its row."""
    counts = {(label, answer): count for label, answer, count in found.pairs}
    totals = [sum(counts.get((label, answer), 0) for answer in range(len(classes))) for label in range(len(classes))]
    own = _apart(classes)
    rows = [
        _cell(own, label, answer, counts.get((label, answer), 0), totals[label])
        | {"pictures": _pictures(found, label, answer)}
        for label in range(len(classes))
        for answer in range(len(classes))
    ]
    answers = alt.Axis(title="what the model said", titleAnchor="start", labelAngle=-40, grid=False, domain=False)
    labels = alt.Axis(title="what it is", labelLimit=110, grid=False, domain=False)
    x, y = alt.X("answer:N", sort=own, axis=answers), alt.Y("label:N", sort=own, axis=labels)
    tooltip = [
        alt.Tooltip("label:N", title="what it is"),
        alt.Tooltip("answer:N", title="what the model said"),
        alt.Tooltip("count:Q", title="images", format=","),
        alt.Tooltip("share:Q", title="of its class", format=".1%"),
    ]
    base = main().encode(x=x, y=y, tooltip=tooltip)
    opacity = alt.Opacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0.05, 0.8]), legend=None)
    color = alt.Color("kind:N", scale=alt.Scale(domain=["right", "wrong"]), legend=None)
    words = alt.condition(
        "datum.share > 0.75 && datum.kind === 'right'", alt.value("var(--paper)"), alt.value("var(--ink)")
    )
    chart = alt.layer(
        base.mark_rect(stroke="var(--paper)", strokeWidth=2, cursor="pointer").encode(color=color, opacity=opacity),
        base.transform_filter("datum.count > 0")
        .mark_text(fontSize=11, cursor="pointer")
        .encode(text=alt.Text("count:Q", format=","), color=words),
    )
    text = f"Confusion matrix of {found.n:,} images, {shown}: rows are true classes, columns answers."
    return Drawing.of(name, text, chart, rows, height=_CELL * len(classes) + _FRAME)


def _cell(own: list[str], label: int, answer: int, count: int, total: int) -> dict[str, Any]:
    share = number(count / total) if total else 0.0
    return {"label": own[label], "answer": own[answer], "count": count, "share": share} | {
        "kind": "right" if label == answer else "wrong"
    }


def _pictures(found: ConfusedPairs, label: int, answer: int) -> str:
    """What a press on a pair shows: clean images of it, or what the attack did."""
    return f"cell:{label}:{answer}" if found.condition == "clean" else f"condition:{found.condition}"


def _ranking(name: str, shown: str, found: ConfusedPairs, classes: tuple[str, ...]) -> Drawing:
    own = _apart(classes)
    rows: Rows = [
        {"pair": f"{own[label]} → {own[answer]}", "pictures": _pictures(found, label, answer), "count": count}
        for label, answer, count in found.pairs
    ]
    order = [row["pair"] for row in rows]
    y = alt.Y("pair:N", sort=order, axis=alt.Axis(title=None, labelLimit=260, grid=False, domain=False))
    tooltip = [alt.Tooltip("pair:N", title="taken for"), alt.Tooltip("count:Q", title="images", format=",")]
    base = main().encode(y=y, x=alt.X("count:Q", axis=alt.Axis(title="images", tickMinStep=1)), tooltip=tooltip)
    bars = base.mark_bar(height=11, cursor="pointer", color="var(--series-2)")
    text = (
        f"The {len(rows)} most confused pairs of classes among {found.n:,} images, {shown}; {found.left_out:,} more "
        "wrong answers are in other pairs."
    )
    return Drawing.of(name, text, alt.layer(bars), rows, height=_LINE * len(rows) + _FRAME)


def _apart(classes: tuple[str, ...]) -> list[str]:
    """Class names; those of one name are told apart."""
    return [name if classes.index(name) == at else f"{name} ({at})" for at, name in enumerate(classes)]
