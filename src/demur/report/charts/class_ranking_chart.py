"""Classes from the one with the fewest right answers up, each with its interval for all classes at once."""

from typing import Any

import altair as alt

from demur.analysis.accuracy.overall import ClassRow
from demur.analysis.results import Results
from demur.metrics.quantiles import FEWEST
from demur.report.charts.chart_theme import MEASURED, Drawing, main, number, share_axis

_MOST, _END = 30, 15
_LINE, _FRAME = 20, 54
GAP = "⋯"


def class_ranking_chart(results: Results) -> Drawing | None:
    """Accuracy by class, worst first; of more than 30 classes both ends.

    Classes of fewer than six images have no place in it. None where fewer than two have as many.
    """
    order = sorted(
        (row for row in results.per_class if row.n >= FEWEST), key=lambda row: (row.accuracy.value, row.name)
    )
    if len(order) < 2:
        return None
    shown = order if len(order) <= _MOST else [*order[:_END], None, *order[-_END:]]
    places = {name: at for at, name in reversed(list(enumerate(results.classes)))}
    rows = [_row(row, places.get(row.name)) for row in shown if row is not None]
    names = [GAP if row is None else row.name for row in shown]
    axis = alt.Axis(title=None, labelLimit=150, labelFontSize=12, grid=True)
    base = main().encode(
        y=alt.Y("name:N", axis=axis, scale=alt.Scale(domain=list(dict.fromkeys(names)))),
        tooltip=[
            alt.Tooltip("name:N", title="class"),
            alt.Tooltip("accuracy:Q", title="right", format=".1%"),
            alt.Tooltip("low:Q", title="from", format=".1%"),
            alt.Tooltip("high:Q", title="to", format=".1%"),
            alt.Tooltip("n:Q", title="images", format=","),
        ],
    )
    x = alt.X("accuracy:Q", axis=share_axis("answers that are right"), scale=alt.Scale(domainMax=1, zero=False))
    chart = alt.layer(
        base.mark_rule(style="spread", strokeWidth=2).encode(x="low:Q", x2="high:Q"),
        base.mark_point(opacity=1, cursor="pointer", **MEASURED).encode(x=x),
    )
    text = (
        f"Share of right answers by class with intervals, {len(rows)} of the {len(order)} classes that have {FEWEST} "
        "images or more, the worst on top."
    )
    return Drawing.of("class-ranking", text, chart, rows, height=_LINE * len(names) + _FRAME)


def _row(row: ClassRow, place: int | None) -> dict[str, Any]:
    ends = {"accuracy": number(row.accuracy.value), "low": number(row.accuracy.low), "high": number(row.accuracy.high)}
    return {"name": row.name, "pictures": "" if place is None else f"class:{place}", "n": row.n, **ends}
