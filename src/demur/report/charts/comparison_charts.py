"""Curves of several runs over each other: right answers against the size of a change, and risk against coverage."""

from collections.abc import Iterator, Mapping
from typing import Any

import altair as alt

from demur.analysis.comparison.overlaid_curves import RiskCurves, StandingCurves
from demur.analysis.paired_runs import Comparison
from demur.report.charts.chart_theme import Drawing, Rows, main, number, share_axis
from demur.report.charts.perturbation_charts import axis_size

_TITLES = {"linf": "largest change per pixel, in 1/255 of full brightness"}


def comparison_charts(found: Comparison, names: Mapping[str, str]) -> Iterator[Drawing]:
    """Every curve there is, the runs called by `names`, which has one for each letter."""
    for curves in found.standing:
        yield _standing(curves, names)
    if found.risks is not None:
        yield _risks(found.risks, names)


def _standing(found: StandingCurves, names: Mapping[str, str]) -> Drawing:
    rows: Rows = [
        {
            "run": names[curve.letter],
            "eps": axis_size(point.eps, found.norm),
            "standing": number(point.standing.value),
            "low": number(point.standing.low),
            "high": number(point.standing.high),
        }
        for curve in found.curves
        for point in curve.points
    ]
    title = _TITLES.get(found.norm, f"{found.norm.upper()} of the change")
    base = main().encode(x=alt.X("eps:Q", axis=alt.Axis(title=title, format=".3~g")), **_by_run(names))
    y = alt.Y("standing:Q", axis=share_axis("images still right"), scale=alt.Scale(domain=[0, 1]))
    tooltip = [
        alt.Tooltip("run:N"),
        alt.Tooltip("eps:Q", title="size", format=".3~"),
        alt.Tooltip("standing:Q", title="still right", format=".1%"),
    ]
    bars = base.mark_area(opacity=0.16) if found.is_line else base.mark_rule(strokeWidth=1.5)
    line = base.mark_line(point={"filled": True, "size": 30 if found.is_line else 70}).encode(
        y=y, strokeDash=_dashes(names), tooltip=tooltip
    )
    chart = alt.layer(bars.encode(y="low:Q", y2="high:Q"), line)
    text = f"Share of {found.n:,} images still right against the size of the change, for {_listed(names)}."
    return Drawing.of(f"standing-{found.norm}", f"{text} Numbers are in the table below.", chart, rows, height=300)


def _risks(found: RiskCurves, names: Mapping[str, str]) -> Drawing:
    rows: Rows = [
        {"run": names[curve.letter], "coverage": number(point.coverage), "risk": number(point.risk)}
        for curve in found.curves
        for point in curve.points
    ]
    x = alt.X("coverage:Q", axis=share_axis("images answered"), scale=alt.Scale(domain=[0, 1]))
    y = alt.Y("risk:Q", axis=share_axis("answers that are wrong"), scale=alt.Scale(domainMin=0))
    tooltip = [
        alt.Tooltip("run:N"),
        alt.Tooltip("coverage:Q", title="answered", format=".1%"),
        alt.Tooltip("risk:Q", title="wrong", format=".2%"),
    ]
    line = main().mark_line().encode(x=x, y=y, strokeDash=_dashes(names), tooltip=tooltip, **_by_run(names))
    text = f"Share of wrong answers against the share of {found.n:,} images answered, by {found.signal}, for"
    alt_text = f"{text} {_listed(names)}. Numbers at two coverages are in the table of phases."
    return Drawing.of("risks", alt_text, alt.layer(line), rows, height=300)


def _by_run(names: Mapping[str, str]) -> dict[str, Any]:
    legend = alt.Legend(symbolOpacity=1, symbolType="stroke")
    return {"color": alt.Color("run:N", scale=alt.Scale(domain=[*names.values()]), legend=legend)}


def _dashes(names: Mapping[str, str]) -> alt.StrokeDash:
    legend = alt.Legend(symbolOpacity=1, symbolType="stroke")
    return alt.StrokeDash("run:N", scale=alt.Scale(domain=[*names.values()]), legend=legend)


def _listed(names: Mapping[str, str]) -> str:
    return ", ".join(names.values())
