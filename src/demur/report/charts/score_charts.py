"""Where the scores of right, wrong, corrupted and attacked images lie, and what the parts of a signal find."""

import math
from collections.abc import Iterator
from typing import Any

import altair as alt

from demur.analysis.accuracy.chart_data import Histogram
from demur.analysis.results import Results
from demur.analysis.signals.components import PartRow, Roc
from demur.report.charts.chart_theme import Drawing, inline, main, number, share_axis
from demur.report.phrases import percent

LANES = ("right", "wrong", "corrupted", "attacked")
FULL, _WORDS_AT = 0.86, 0.72


def histogram_charts(results: Results) -> Drawing:
    """One lane per outcome over a shared axis of uncertainty, each lane scaled to its own tallest bar.

    Heights are square roots of counts: most right answers are sure, and beside their bar the others would not be seen.
    """
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
    bars = base.mark_rect(strokeWidth=0, cursor="pointer").encode(
        x=alt.X("low:Q", axis=alt.Axis(title="uncertainty", tickCount=8), scale=alt.Scale(zero=False, nice=False)),
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
    chart = alt.layer(bars, *_threshold(results), *_beyond(results)).add_params(
        alt.param(name="shown", value=first_signal(results))
    )
    text = "Four histograms of uncertainty: of images answered right, answered wrong, corrupted and attacked."
    return Drawing.of("histograms", text, chart, rows, height=300)


def first_signal(results: Results) -> str:
    """The signal shown before the reader chooses: the certified one where it was counted, else the first."""
    known = [histogram.signal for histogram in results.histograms]
    return results.guarantee.signal if results.guarantee and results.guarantee.signal in known else known[0]


def _rows(histogram: Histogram) -> list[dict[str, Any]]:
    counts = {lane: getattr(histogram, lane) for lane in LANES}
    return [
        {
            "signal": histogram.signal,
            "outcome": lane,
            "low": number(histogram.edges[at]),
            "high": number(histogram.edges[at + 1]),
            "floor": len(LANES) - 1 - place,
            "top": number(len(LANES) - 1 - place + FULL * math.sqrt(bar / max(counts[lane]))),
            "count": bar,
            "bin": at,
        }
        for place, lane in enumerate(LANES)
        for at, bar in enumerate(counts[lane])
        if bar
    ]


def _threshold(results: Results) -> list[alt.Chart]:
    """The certified threshold; signals without one hold an unseen place, for Vega warns of empty extents."""
    threshold = None if results.guarantee is None else results.guarantee.threshold
    if results.guarantee is None or threshold is None:
        return []
    own = {row.signal: row.signal == results.guarantee.signal for row in results.histograms}
    rows = [
        {
            "signal": histogram.signal,
            "low": number(min(threshold, edges[-1]) if own[histogram.signal] else edges[0]),
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


def _beyond(results: Results) -> list[alt.Chart]:
    """For each lane of the guard's signal the share of its images to the right of the threshold."""
    found = results.figures
    if found is None or results.guarantee is None or not found.beyond:
        return []
    right = max(next(row.edges for row in results.histograms if row.signal == found.signal))
    rows = [
        {
            "signal": found.signal,
            "low": number(right),
            "top": len(LANES) - 1 - LANES.index(row.outcome) + _WORDS_AT,
            "words": f"{percent(row.share.value)} above",
        }
        for row in found.beyond
    ]
    text = inline(rows).transform_filter("datum.signal === shown").mark_text(style="label", align="right", dx=-2)
    return [text.encode(x="low:Q", y="top:Q", text="words:N")]


TARGETS = {
    "error": "errors",
    "attack": "attacks, worst point",
    "attack_oblivious": "attacks, nearest point",
    "shift": "corrupted images",
    "unknown": "images of none of the classes",
}
_TITLES = {"layers": "layer", "mutants": "mutants asked", "squeezers": "squeezer"}
_PREFERRED = ("attack", "error", "attack_oblivious", "shift", "unknown")


def part_charts(results: Results) -> tuple[Drawing, ...]:
    """One chart for each signal whose parts were kept."""
    return tuple(_named(at, drawing) for at, drawing in enumerate((*_by_part(results), *_by_alarm(results))))


def _named(at: int, drawing: Drawing) -> Drawing:
    return Drawing(name=f"parts-{at}", alt=drawing.alt, spec=drawing.spec)


def _by_part(results: Results) -> Iterator[Drawing]:
    for name in dict.fromkeys(row.signal for row in results.parts if row.component_kind != "squeezers"):
        yield _areas([row for row in results.parts if row.signal == name])


def _areas(own: list[PartRow]) -> Drawing:
    """AUROC with its interval by part, one line for each target; one half is chance."""
    rows = [
        {
            "part": int(row.part) if row.component_kind == "mutants" else row.part,
            "target": TARGETS[row.target],
            "auroc": number(row.auroc.value),
            "low": number(row.auroc.low),
            "high": number(row.auroc.high),
        }
        for row in own
    ]
    of, named = own[0].component_kind, [TARGETS[target] for target in dict.fromkeys(row.target for row in own)]
    x = _place(of, rows)
    y = alt.Y("auroc:Q", axis=alt.Axis(title="AUROC", format=".1f", tickCount=6), scale=alt.Scale(domain=[0, 1]))
    base = main().encode(x=x, color=alt.Color("target:N", scale=alt.Scale(domain=named)))
    shape = alt.Shape("target:N", scale=alt.Scale(domain=named))
    tooltip = [alt.Tooltip("part:N", title=_TITLES[of]), alt.Tooltip("target:N"), alt.Tooltip("auroc:Q", format=".3f")]
    half = inline([{"auroc": 0.5}]).mark_rule(style="random").encode(y=y)
    chart = alt.layer(
        half,
        base.mark_line().encode(y=y),
        base.mark_rule(strokeWidth=1.5).encode(y="low:Q", y2="high:Q"),
        base.mark_point(filled=True, size=80, opacity=1).encode(y=y, shape=shape, tooltip=tooltip),
    )
    text = f"{own[0].signal}: AUROC by {_TITLES[of]}, for {', '.join(named)}; numbers in the table."
    return Drawing.of("parts", text, chart, rows, height=260)


def _place(made_of: str, rows: list[dict[str, Any]]) -> alt.X:
    if made_of == "mutants":
        axis = alt.Axis(title=_TITLES[made_of], tickCount=6)
        return alt.X("part:Q", axis=axis, scale=alt.Scale(domainMin=0, nice=False))
    order = list(dict.fromkeys(row["part"] for row in rows))
    return alt.X("part:N", axis=alt.Axis(title=_TITLES[made_of], labelAngle=0), scale=alt.Scale(domain=order))


def _by_alarm(results: Results) -> Iterator[Drawing]:
    for name in dict.fromkeys(roc.signal for roc in results.rocs):
        own = [roc for roc in results.rocs if roc.signal == name]
        target = next(target for target in _PREFERRED if any(roc.target == target for roc in own))
        yield _roc([roc for roc in own if roc.target == target])


def _roc(own: list[Roc]) -> Drawing:
    """Hits against false alarms, one line for each squeezer; the diagonal is chance."""
    rows = [
        {"part": roc.part, "at": at, "alarms": number(alarms), "hits": number(hits)}
        for roc in own
        for at, (alarms, hits) in enumerate(roc.points)
    ]
    x = alt.X("alarms:Q", axis=share_axis("others flagged"), scale=alt.Scale(domain=[0, 1]))
    y = alt.Y("hits:Q", axis=share_axis(f"{TARGETS[own[0].target]} flagged"), scale=alt.Scale(domain=[0, 1]))
    names = [roc.part for roc in own]
    color = alt.Color("part:N", scale=alt.Scale(domain=names))
    tooltip = [alt.Tooltip("part:N"), alt.Tooltip("alarms:Q", format=".1%"), alt.Tooltip("hits:Q", format=".1%")]
    chart = alt.layer(
        inline([{"alarms": 0, "hits": 0}, {"alarms": 1, "hits": 1}]).mark_line(style="diagonal").encode(x=x, y=y),
        main().mark_line().encode(x=x, y=y, color=color, order="at:O", tooltip=tooltip),
    )
    text = f"{own[0].signal}: share of {TARGETS[own[0].target]} flagged against that of others, for {', '.join(names)}."
    return Drawing.of("parts", text, chart, rows, height=260)
