"""How accuracy falls as a condition grows harder."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from demur.analysis.accuracy.overall import ConditionRow
from demur.analysis.quantity import Quantity
from demur.analysis.results import Results
from demur.analysis.robustness.attack_tables import Robustness
from demur.report.charts.chart_theme import Drawing, main, number, share_axis
from demur.report.phrases import readable


def against_eps(results: Results) -> Drawing | None:
    """Accuracy against the largest change an attack may make; None where none has a size in pixels."""
    curves = [found for found in results.robustness if found.norm == "linf" and found.curve]
    chosen = [row for row in results.conditions if row.kind == "attack" and _has_place(row, results)]
    families = [*map(_family, curves), *{row.family for row in chosen}]
    rows = _marked(results, chosen)
    for found in curves:
        name = _family(found) if families.count(_family(found)) == 1 else found.condition
        rows += [_place(readable(name), point.eps, point.robust_accuracy, found.n, curve=True) for point in found.curve]
    return _drawn("accuracy-eps", "largest change per pixel (0 to 1)", rows) if rows else None


def _has_place(row: ConditionRow, results: Results) -> bool:
    """Attacks that keep points of one size, measured in pixels, and may end in any other class."""
    searched = {found.condition for found in results.robustness if found.curve}
    elsewhere = {attack.condition for attack in results.attacks if attack.norm != "linf" or attack.target is not None}
    return row.severity > 0 and row.condition not in searched | elsewhere


def against_severity(results: Results) -> Drawing | None:
    """Accuracy against the severity of a corruption; None where none ran."""
    return _falling(results, "corruption", "severity", "accuracy-severity")


def _falling(results: Results, kind: str, title: str, name: str) -> Drawing | None:
    chosen = [row for row in results.conditions if row.kind == kind and row.severity > 0]
    return _drawn(name, title, _marked(results, chosen)) if chosen else None


def _drawn(name: str, title: str, rows: list[dict[str, Any]]) -> Drawing:
    """Lines with points and interval bars; a curve of many points has a band instead."""
    labels = list(dict.fromkeys(row["family"] for row in rows))
    few = [row for row in rows if not row["curve"]] or rows[:: max(1, len(rows) // 6)]
    values = sorted({row["severity"] for row in few} | {0.0})
    base = main().encode(
        x=alt.X("severity:Q", axis=alt.Axis(title=title, values=values, format=".3~")),
        color=alt.Color("family:N", scale=alt.Scale(domain=labels)),
    )
    y = alt.Y("accuracy:Q", axis=share_axis("answers that are right"), scale=alt.Scale(domain=[0, 1]))
    layers = [base.mark_line().encode(y=y)]
    if any(row["curve"] for row in rows):
        layers.append(base.transform_filter("datum.curve").mark_area(opacity=0.18).encode(y="low:Q", y2="high:Q"))
    if not all(row["curve"] for row in rows):
        single = base.transform_filter("!datum.curve")
        shape = alt.Shape("family:N", scale=alt.Scale(domain=labels))
        layers += [
            single.mark_rule(strokeWidth=1.5).encode(y="low:Q", y2="high:Q"),
            single.mark_point(filled=True, size=80, opacity=1).encode(y=y, shape=shape, tooltip=_tooltip()),
        ]
    text = f"Line chart of the share of right answers against {title}, for {', '.join(labels)}; numbers in the table."
    return Drawing.of(name, text, alt.layer(*layers), rows, height=280)


def _marked(results: Results, chosen: Sequence[ConditionRow]) -> list[dict[str, Any]]:
    """Each family's conditions in order of severity, the clean images first."""
    clean = [row for row in results.conditions if row.kind == "clean"]
    families = dict.fromkeys(row.family for row in chosen)
    return [_row(row, family) for family in families for row in (*clean, *_of(chosen, family))]


def _of(rows: Sequence[ConditionRow], family: str) -> list[ConditionRow]:
    return sorted((row for row in rows if row.family == family), key=lambda row: row.severity)


def _row(row: ConditionRow, family: str) -> dict[str, Any]:
    return _place(readable(family), row.severity, row.accuracy, row.n, curve=False)


def _family(found: Robustness) -> str:
    """The legend says more only where several lines are of one family."""
    return found.condition.partition("(")[0]


def _place(family: str, severity: float, right: Quantity, n: int, *, curve: bool) -> dict[str, Any]:
    return {
        "family": family,
        "severity": number(severity),
        "accuracy": number(right.value),
        "low": number(right.low),
        "high": number(right.high),
        "n": n,
        "curve": curve,
    }


def _tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("family:N", title="condition"),
        alt.Tooltip("severity:Q", format=".4"),
        alt.Tooltip("accuracy:Q", title="right", format=".1%"),
        alt.Tooltip("n:Q", title="images", format=","),
    ]
