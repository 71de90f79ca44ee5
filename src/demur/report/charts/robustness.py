"""How accuracy falls as a condition grows harder."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from demur.analysis.results import ConditionRow, Results
from demur.report.charts.drawing import Drawing, main, number, share_axis
from demur.report.phrases import readable


def against_eps(results: Results) -> Drawing | None:
    """Accuracy against the largest change an attack may make; attacks without a bound have no place here."""
    return _falling(results, "attack", "largest change per pixel (0 to 1)", "accuracy-eps")


def against_severity(results: Results) -> Drawing | None:
    """Accuracy against the severity of a corruption; None where none ran."""
    return _falling(results, "corruption", "severity", "accuracy-severity")


def _falling(results: Results, kind: str, title: str, name: str) -> Drawing | None:
    chosen = [row for row in results.conditions if row.kind == kind and row.severity > 0]
    if not chosen:
        return None
    families = list(dict.fromkeys(row.family for row in chosen))
    clean = [row for row in results.conditions if row.kind == "clean"]
    rows = [_row(row, family) for family in families for row in (*clean, *_of(chosen, family))]
    labels = [readable(family) for family in families]
    values = sorted({row.severity for row in chosen} | {0.0})
    base = main().encode(
        x=alt.X("severity:Q", axis=alt.Axis(title=title, values=values, format=".3~")),
        color=alt.Color("family:N", scale=alt.Scale(domain=labels)),
    )
    y = alt.Y("accuracy:Q", axis=share_axis("answers that are right"), scale=alt.Scale(domain=[0, 1]))
    points = base.mark_point(filled=True, size=80, opacity=1).encode(
        y=y, shape=alt.Shape("family:N", scale=alt.Scale(domain=labels)), tooltip=_tooltip()
    )
    chart = alt.layer(
        base.mark_rule(strokeWidth=1.5).encode(y="low:Q", y2="high:Q"), base.mark_line().encode(y=y), points
    )
    text = f"Line chart of the share of right answers against {title}, for {', '.join(labels)}; numbers in the table."
    return Drawing.of(name, text, chart, rows, height=280)


def _of(rows: Sequence[ConditionRow], family: str) -> list[ConditionRow]:
    return sorted((row for row in rows if row.family == family), key=lambda row: row.severity)


def _row(row: ConditionRow, family: str) -> dict[str, Any]:
    return {
        "family": readable(family),
        "severity": number(row.severity),
        "accuracy": number(row.accuracy.value),
        "low": number(row.accuracy.low),
        "high": number(row.accuracy.high),
        "n": row.n,
    }


def _tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("family:N", title="condition"),
        alt.Tooltip("severity:Q", format=".4"),
        alt.Tooltip("accuracy:Q", title="right", format=".1%"),
        alt.Tooltip("n:Q", title="images", format=","),
    ]
