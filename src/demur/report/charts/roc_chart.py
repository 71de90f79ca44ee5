"""Wrong answers refused against right ones refused: the curve of each signal and the points of all policies."""

from typing import Any

import altair as alt

from demur.analysis.figures.error_rocs import OperatingPoint
from demur.analysis.results import Results
from demur.report.charts.chart_theme import Drawing, Rows, inline, main, number, share_axis
from demur.report.phrases import readable

_MOST = 6


def roc_chart(results: Results) -> Drawing | None:
    """The chart; None where no answer or every one is wrong."""
    found = results.figures
    if found is None or not found.rocs:
        return None
    same = {row.name for row in results.signals if row.ranks_as}
    own = [roc for roc in found.rocs if roc.signal not in same][:_MOST]
    rows: Rows = [
        {"line": roc.signal, "at": at, "right": number(right), "wrong": number(wrong)}
        for roc in own
        for at, (right, wrong) in enumerate(roc.points)
    ]
    x = alt.X("right:Q", axis=share_axis("right answers refused"), scale=alt.Scale(domain=[0, 1]))
    y = alt.Y("wrong:Q", axis=share_axis("wrong answers refused"), scale=alt.Scale(domain=[0, 1]))
    names = [roc.signal for roc in own]
    line = main().encode(x=x, y=y, color=alt.Color("line:N", scale=alt.Scale(domain=names)))
    tooltip = [alt.Tooltip("line:N", title="signal"), *_shares()]
    layers = [
        inline([{"right": 0, "wrong": 0}, {"right": 1, "wrong": 1}]).mark_line(style="diagonal").encode(x=x, y=y),
        line.mark_line().encode(order="at:O", tooltip=tooltip),
        *_points([_point(point) for point in found.operating_points], x, y),
    ]
    text = (
        f"Share of wrong answers refused against that of right ones, for {', '.join(names)}; points are the policies."
    )
    return Drawing.of("roc", text, alt.layer(*layers), rows, height=340)


def _point(point: OperatingPoint) -> dict[str, Any]:
    shares = {"right": point.right_refused, "wrong": point.wrong_refused}
    ends = {f"{name}_{end}": number(getattr(found, end)) for name, found in shares.items() for end in ("low", "high")}
    short = readable(point.policy.partition("(")[0])
    return {"policy": point.policy, "short": short} | {k: number(v.value) for k, v in shares.items()} | ends


def _points(rows: Rows, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """A cross of both intervals, a diamond and the name of each policy."""
    shown = [row for row in rows if row["right"] is not None and row["wrong"] is not None]
    if not shown:
        return []
    base = inline(shown).encode(x=x, y=y)
    tooltip = [alt.Tooltip("policy:N"), *_shares()]
    return [
        base.mark_rule(color="var(--ink)", strokeWidth=1.25).encode(y="wrong_low:Q", y2="wrong_high:Q"),
        base.mark_rule(color="var(--ink)", strokeWidth=1.25).encode(x="right_low:Q", x2="right_high:Q"),
        base.mark_point(shape="diamond", filled=True, size=110, opacity=1, color="var(--ink)").encode(tooltip=tooltip),
        base.mark_text(style="label", align="left", dx=10, dy=12, fontWeight=600, color="var(--ink)").encode(
            text="short:N"
        ),
    ]


def _shares() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("right:Q", title="right answers refused", format=".1%"),
        alt.Tooltip("wrong:Q", title="wrong answers refused", format=".1%"),
    ]
