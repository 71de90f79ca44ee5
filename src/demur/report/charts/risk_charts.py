"""Risk against coverage, and stated against true confidence."""

import math
from typing import Any, Literal, TypeAlias

import altair as alt

from demur.analysis.accuracy.chart_data import RiskCoverage
from demur.analysis.results import Results
from demur.analysis.verdict.verdict import Guarantee
from demur.report.charts.chart_theme import CERTIFIED, MEASURED, POINTER, Drawing, inline, main, number, share_axis
from demur.report.phrases import at_most


def reliability_chart(results: Results) -> Drawing:
    """Accuracy with its interval against stated confidence, the count of images under each point."""
    rows = [
        {
            "confidence": number(bin_.confidence),
            "accuracy": number(bin_.accuracy.value),
            "low": number(bin_.accuracy.low),
            "high": number(bin_.accuracy.high),
            "n": bin_.n,
        }
        for bin_ in results.calibration.bins
        if bin_.n and not math.isnan(bin_.accuracy.value)
    ]
    x = alt.X("confidence:Q", axis=share_axis("stated confidence"), scale=alt.Scale(domain=[0, 1.02], nice=False))
    y = alt.Y("accuracy:Q", axis=share_axis("answers that are right"), scale=alt.Scale(domain=[0, 1.02], nice=False))
    base = main().encode(x=x)
    ends = inline([{"confidence": 0, "accuracy": 0}, {"confidence": 1, "accuracy": 1}])
    tooltip = [
        alt.Tooltip("confidence:Q", format=".1%"),
        alt.Tooltip("accuracy:Q", format=".1%"),
        alt.Tooltip("n:Q", title="images", format=","),
    ]
    chart = alt.layer(
        ends.mark_line(style="diagonal").encode(x=x, y=y),
        base.mark_rule(style="spread").encode(y=alt.Y("low:Q"), y2="high:Q"),
        base.mark_point(opacity=1, **MEASURED).encode(y=y, tooltip=tooltip),
        base.mark_text(style="label", angle=270, align="left", fontSize=11).encode(
            y=alt.datum(0.02), text=alt.Text("n:Q", format=",")
        ),
    )
    text = f"Reliability diagram of {len(rows)} bins: share of right answers against stated confidence."
    return Drawing.of("reliability", text, chart, rows, height=340)


ROOM = 0.8
_TOP = 0.85
Where: TypeAlias = tuple[alt.X, alt.Y]


def risk_coverage_chart(results: Results) -> Drawing:
    """Every signal quiet, the chosen one strong, its point at the slider; oracle, random, guarantee for scale."""
    rows = [row for curve in results.curves for row in _rows(curve)]
    where = (
        alt.X("coverage:Q", axis=share_axis("images answered"), scale=alt.Scale(domain=[0, 1])),
        alt.Y("risk:Q", axis=share_axis("answers that are wrong"), scale=alt.Scale(domainMin=0)),
    )
    base = main().encode(*where)
    chosen = base.transform_filter("datum.signal === shown")
    layers = [
        base.mark_line(style="quiet").encode(detail="signal:N"),
        *_references(results, where),
        chosen.mark_line(style="chosen").encode(tooltip=_tooltip()),
        *_certified(results.guarantee, where),
        chosen.transform_filter("datum.index === at").mark_point(opacity=1, **POINTER).encode(tooltip=_tooltip()),
    ]
    shown, at = start(results)
    params = [alt.param(name="shown", value=shown), alt.param(name="at", value=at)]
    return Drawing.of("risk-coverage", _alt(results), alt.layer(*layers).add_params(*params), rows, height=340)


def start(results: Results) -> tuple[str, int]:
    """Where the slider stands at first: the certified signal and its point, else the middle of the first curve."""
    if not results.curves:
        return ("", 0)
    guarantee = results.guarantee
    curve = next(
        (curve for curve in results.curves if guarantee and curve.signal == guarantee.signal), results.curves[0]
    )
    threshold = None if guarantee is None or curve.signal != guarantee.signal else guarantee.threshold
    if threshold is None:
        return (curve.signal, len(curve.points) // 2)
    allowed = [at for at, point in enumerate(curve.points) if point.threshold <= threshold]
    return (curve.signal, max(allowed, default=0))


def _rows(curve: RiskCoverage) -> list[dict[str, Any]]:
    return [
        {
            "signal": curve.signal,
            "index": index,
            "threshold": number(point.threshold),
            "coverage": number(point.coverage),
            "risk": number(point.risk),
        }
        for index, point in enumerate(curve.points)
    ]


def _references(results: Results, where: Where) -> list[alt.Chart]:
    layers = []
    if results.oracle:
        oracle = _rows(results.oracle)
        layers += [
            inline(oracle).mark_line(style="oracle").encode(*where),
            _label(_turn(oracle), "perfect order", "oracle-label", where, align="right", dx=-6, dy=-9),
        ]
    flat = number(results.random_risk)
    if flat is not None:
        ends = [{"coverage": 0, "risk": flat}, {"coverage": 1, "risk": flat}]
        layers += [
            inline(ends).mark_line(style="random").encode(*where),
            _label(ends[0], "random order", "label", where, align="left", dx=6, dy=11),
        ]
    if results.guarantee and results.guarantee.kind != "class":
        ends = [{"coverage": 0, "risk": results.guarantee.risk}, {"coverage": 1, "risk": results.guarantee.risk}]
        words = f"guarantee: at most {at_most(results.guarantee.risk)}"
        layers += [
            inline(ends).mark_line(style="guarantee").encode(*where),
            _label(ends[0], words, "guarantee-label", where, align="left", dx=6, dy=_label_shift(results)),
        ]
    return layers


def _label_shift(results: Results) -> int:
    """Above the line of the guarantee, but below it where it lies at the top and the title of the axis begins."""
    highest = max((point.risk for curve in results.curves for point in curve.points), default=0.0)
    return 13 if results.guarantee and results.guarantee.risk > _TOP * highest else -8


def _turn(oracle: list[dict[str, Any]]) -> dict[str, Any]:
    """The last point before the perfect order runs out of right answers."""
    return next((row for row in reversed(oracle) if not row["risk"]), oracle[0])


def _certified(guarantee: Guarantee | None, where: Where) -> list[alt.Chart]:
    if guarantee is None or number(guarantee.test_risk.value) is None:
        return []
    row = {"coverage": number(guarantee.coverage.value), "risk": number(guarantee.test_risk.value)}
    side: tuple[Literal["left", "right"], int] = ("left", 11) if guarantee.coverage.value < ROOM else ("right", -11)
    return [
        inline([row]).mark_point(opacity=1, **CERTIFIED).encode(*where),
        _label(row, "certified", "certified-label", where, align=side[0], dx=side[1], dy=16),
    ]


def _label(
    row: dict[str, Any],
    text: str,
    style: str,
    where: Where,
    *,
    align: Literal["left", "right"],
    dx: int,
    dy: int,
) -> alt.Chart:
    return inline([row]).mark_text(style=style, text=text, align=align, dx=dx, dy=dy).encode(*where)


def _tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("signal:N"),
        alt.Tooltip("threshold:Q", format=".4"),
        alt.Tooltip("coverage:Q", title="answers", format=".1%"),
        alt.Tooltip("risk:Q", title="wrong", format=".2%"),
    ]


def _alt(results: Results) -> str:
    signals = ", ".join(curve.signal for curve in results.curves)
    return f"Line chart of the share of wrong answers against the share of images answered, for {signals}."
