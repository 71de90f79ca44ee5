"""The curves of a training as a figure: both losses, and the share of right answers with the F1 of each class."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt

from demur.errors import RunError
from demur.files import write_atomically
from demur.report.charts.chart_theme import THEME, Drawing, Rows, inline, number, share_axis
from demur.report.charts.figure_list import Figure
from demur.report.figure_files import drawn_file

_F1 = "f1 "
_WORST, _DOTTED = 3, 30
_WIDTH = 620
_LOSSES = {"train_loss": "training, random views", "held_out_loss": "images set aside"}
_RIGHT, _OTHERS = "right answers", "F1 of the other classes"
_UNDER_CHANGE = {
    "robust_accuracy": "right under ten steps",
    "one_step_accuracy": "right under one step",
    "proven_accuracy": "right, proven",
}
_COLOURS = {_RIGHT: "var(--ink)", _OTHERS: "var(--quiet)"}


def write_learning_figure(table: Path, target: Path) -> Path | None:
    """Draw the table of a training (`curves.csv`) as an SVG file; None while it has no epoch.

    Raises:
        RunError: the table cannot be read.
    """
    try:
        with table.open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file))
        drawing = learning_chart(lines) if lines else None
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise RunError(f"{table} is no table of a training ({error}). Train again; what is whole is kept.") from None
    if drawing is None:
        return None
    write_atomically(target, drawn_file(Figure(drawing=drawing, section="", caption=_caption(lines)), "svg"))
    return target


def learning_chart(lines: Sequence[Mapping[str, str]]) -> Drawing:
    """Loss above, shares below, against the epoch."""
    panels = [_losses(lines), *([_shares(lines)] if _cell(lines[-1], "accuracy") is not None else [])]
    spec = alt.vconcat(*panels).resolve_scale(color="independent").to_dict(validate=False)
    del spec["$schema"]
    config: dict[str, Any] = {**THEME, "legend": {**THEME["legend"], "columns": 3, "labelLimit": 185}}
    return Drawing(name="curves", alt=_words(lines), spec=spec | {"config": config})


def _losses(lines: Sequence[Mapping[str, str]]) -> alt.LayerChart | alt.FacetChart:
    rows = [
        {"epoch": int(line["epoch"]), "value": _cell(line, column), "series": name}
        for column, name in _LOSSES.items()
        for line in lines
    ]
    colour = alt.Color("series:N", scale=_scale(_there(rows), tuple(_LOSSES.values())))
    y = alt.Y("value:Q", title="loss, nats", scale=alt.Scale(zero=False))
    chart = inline(_there(rows)).mark_line(point=len(lines) <= _DOTTED).encode(x=_epochs(lines), y=y, color=colour)
    return alt.layer(chart).properties(width=_WIDTH, height=190)


def _shares(lines: Sequence[Mapping[str, str]]) -> alt.LayerChart | alt.FacetChart:
    """Accuracy, the three classes that end lowest by name, and the others in the background."""
    lowest = [f"F1 of {name}" for name, _ in _by_f1(lines[-1])[:_WORST]]
    rows = [
        {"epoch": int(line["epoch"]), "value": _cell(line, column), "line": column, "series": name}
        for column, name in _columns(lines[0], lowest)
        for line in lines
    ]
    colour = alt.Color("series:N", scale=_scale(_there(rows), (_RIGHT, *_UNDER_CHANGE.values(), *lowest, _OTHERS)))
    title = f"shares, of {int(lines[-1]['held_out_images']):,} images set aside"
    y = alt.Y("value:Q", axis=share_axis(title), scale=alt.Scale(zero=False))
    where = {"x": _epochs(lines), "y": y, "color": colour, "detail": "line:N"}
    layers = [
        inline([row for row in _there(rows) if (row["series"] == _OTHERS) is quiet])
        .mark_line(point=len(lines) <= _DOTTED and not quiet, strokeWidth=1.2 if quiet else 2)
        .encode(**where)
        for quiet in (True, False)
    ]
    return alt.layer(*layers).properties(width=_WIDTH, height=250)


def _columns(line: Mapping[str, str], lowest: Sequence[str]) -> list[tuple[str, str]]:
    """Every column of shares with the name of its series, those in the background first."""
    named = [(column, f"F1 of {column.removeprefix(_F1)}") for column in line if column.startswith(_F1)]
    found = [(column, name if name in lowest else _OTHERS) for column, name in named]
    changed = [(column, name) for column, name in _UNDER_CHANGE.items() if column in line]
    return [*sorted(found, key=lambda each: each[1] != _OTHERS), ("accuracy", _RIGHT), *changed]


def _epochs(lines: Sequence[Mapping[str, str]]) -> alt.X:
    ends = [int(lines[0]["epoch"]), int(lines[-1]["epoch"])]
    axis = alt.Axis(title="epoch", format="d", tickMinStep=1)
    return alt.X("epoch:Q", axis=axis, scale=alt.Scale(domain=ends, nice=False, padding=8))


def _scale(rows: Rows, order: Sequence[str]) -> alt.Scale:
    """A colour for each series there is, in the order of the legend."""
    names = [name for name in order if any(row["series"] == name for row in rows)]
    turns = (f"var(--series-{at})" for at in range(1, 7))
    return alt.Scale(domain=names, range=[_COLOURS.get(name) or next(turns) for name in names])


def _there(rows: Rows) -> Rows:
    return [row for row in rows if row["value"] is not None]


def _cell(line: Mapping[str, str], column: str) -> float | None:
    return number(float(line[column] or math.nan))


def _by_f1(line: Mapping[str, str]) -> list[tuple[str, float]]:
    """The classes that have an F1, the lowest first."""
    named = [(column.removeprefix(_F1), _cell(line, column)) for column in line if column.startswith(_F1)]
    return sorted([(name, value) for name, value in named if value is not None], key=lambda each: each[1])


def _words(lines: Sequence[Mapping[str, str]]) -> str:
    """What a reader hears who cannot see it: where the curves end."""
    last, classes = lines[-1], _by_f1(lines[-1])
    if not classes:
        return (
            f"Loss over {len(lines)} epochs, at the end {_cell(last, 'train_loss'):.3g} nats; no images were set aside."
        )
    share, (name, lowest) = _cell(last, "accuracy") or 0.0, classes[0]
    return (
        f"Loss over {len(lines)} epochs, at the end {_cell(last, 'train_loss'):.3g} nats in training; {share:.1%} "
        f"right on images set aside; F1 from {lowest:.3f} ({name}) to {classes[-1][1]:.3f}."
    )


def _caption(lines: Sequence[Mapping[str, str]]) -> str:
    """What the figure is of."""
    return f"Learning curves, {len(lines)} epochs, {int(lines[-1]['held_out_images']):,} images set aside."
