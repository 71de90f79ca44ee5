"""Where the scores of right, wrong, corrupted and attacked images lie."""

from typing import Any

import altair as alt

from demur.analysis.results import Histogram, Results
from demur.report.charts.drawing import Drawing, inline, main, number

LANES = ("right", "wrong", "corrupted", "attacked")
FULL = 0.86


def histograms(results: Results) -> Drawing:
    """One lane per outcome over a shared axis of doubt, each lane scaled to its own tallest bar."""
    rows = [row for histogram in results.histograms for row in _rows(histogram)]
    base = main().transform_filter("datum.signal === shown")
    names = ", ".join(f"'{lane}'" for lane in reversed(LANES))
    axis = alt.Axis(
        title=None,
        values=[0.43, 1.43, 2.43, 3.43],
        labelExpr=f"[{names}][floor(datum.value)]",
        grid=False,
        labelFontSize=13,
    )
    bars = base.mark_rect(strokeWidth=0).encode(
        x=alt.X("low:Q", axis=alt.Axis(title="doubt", tickCount=8), scale=alt.Scale(zero=False, nice=False)),
        x2="high:Q",
        y=alt.Y("floor:Q", axis=axis, scale=alt.Scale(domain=[0, 4])),
        y2="top:Q",
        color=alt.Color("outcome:N", scale=alt.Scale(domain=list(LANES)), legend=None),
        tooltip=[
            alt.Tooltip("outcome:N"),
            alt.Tooltip("count:Q", title="images", format=","),
            alt.Tooltip("low:Q", title="from", format=".4"),
            alt.Tooltip("high:Q", title="to", format=".4"),
        ],
    )
    chart = alt.layer(bars, *_threshold(results)).add_params(alt.param(name="shown", value=first_signal(results)))
    text = "Four histograms of doubt: of images answered right, answered wrong, corrupted and attacked."
    return Drawing.of("histograms", text, chart, rows, height=300)


def first_signal(results: Results) -> str:
    """The signal shown before the reader chooses: the certified one where it was counted, else the first."""
    known = [histogram.signal for histogram in results.histograms]
    return results.promise.signal if results.promise and results.promise.signal in known else known[0]


def _rows(histogram: Histogram) -> list[dict[str, Any]]:
    counts = {lane: getattr(histogram, lane) for lane in LANES}
    return [
        {
            "signal": histogram.signal,
            "outcome": lane,
            "low": number(histogram.edges[at]),
            "high": number(histogram.edges[at + 1]),
            "floor": len(LANES) - 1 - place,
            "top": number(len(LANES) - 1 - place + FULL * bar / max(counts[lane])),
            "count": bar,
        }
        for place, lane in enumerate(LANES)
        for at, bar in enumerate(counts[lane])
        if bar
    ]


def _threshold(results: Results) -> list[alt.Chart]:
    """The certified threshold; signals without one hold an unseen place, for Vega warns of empty extents."""
    if results.promise is None:
        return []
    own = {row.signal: row.signal == results.promise.signal for row in results.histograms}
    rows = [
        {
            "signal": histogram.signal,
            "low": number(min(results.promise.threshold, edges[-1]) if own[histogram.signal] else edges[0]),
            "floor": 0,
            "top": 4,
            "seen": float(own[histogram.signal]),
        }
        for histogram in results.histograms
        for edges in [histogram.edges]
    ]
    seen = alt.Opacity("seen:Q", scale=None, legend=None)
    line = inline(rows).transform_filter("datum.signal === shown").encode(x="low:Q", opacity=seen)
    return [
        line.mark_rule(style="chosen", strokeWidth=1.5).encode(y="floor:Q", y2="top:Q"),
        line.mark_text(style="certified-label", text="threshold", align="left", dx=5, dy=-5).encode(y="top:Q"),
    ]
