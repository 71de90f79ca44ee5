"""How far an image must change before the answer flips, and how accuracy falls as a condition grows harder."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import altair as alt

from demur.analysis.accuracy.overall import ConditionRow
from demur.analysis.quantity import Quantity
from demur.analysis.results import Results
from demur.analysis.robustness.minimal_perturbation import MinimalPerturbation
from demur.analysis.robustness.perturbation_curves import Confidence
from demur.analysis.robustness.robust_accuracy import SizePoint
from demur.report.charts.chart_theme import Drawing, Rows, main, number, share_axis
from demur.report.phrases import readable

MOST = 4
TITLES = {"linf": "largest change per pixel, in 1/255 of full brightness"}
_STILL = 0.99


def standing_chart(results: Results) -> Iterator[Drawing]:
    """For every norm: the share of images that no change up to a size flips, along each direction and by attacks."""
    for norm in dict.fromkeys(found.norm for found in results.epsilon):
        searches = [found for found in results.epsilon if found.norm == norm]
        rows = [row for name, ecdf in _lines(searches).items() for row in _steps(name, ecdf, norm)]
        if rows:
            yield _standing(norm, rows)


def following(found: MinimalPerturbation, at: int) -> Drawing | None:
    """The probability of the label along one direction: its mean, the middle half, and the share still right."""
    points = _moving([point for point in found.curve if point.eps > 0])
    if len(points) < 2:
        return None
    rows = [_row(point, found.norm) for point in points]
    names = ["probability of the label", "answers still right"]
    x = size_axis("eps", found.norm, size_range([row["eps"] for row in rows]))
    y = alt.Y("mean:Q", axis=share_axis("", 6), scale=alt.Scale(domain=[0, 1]))
    color = alt.Color("line:N", scale=alt.Scale(domain=names), legend=alt.Legend(symbolOpacity=1, symbolType="stroke"))
    tooltip = [
        alt.Tooltip("eps:Q", title="size", format=".3~"),
        alt.Tooltip("mean:Q", title=names[0], format=".1%"),
        alt.Tooltip("standing:Q", title="still right", format=".1%"),
    ]
    mean = main().transform_calculate(line=f"'{names[0]}'").encode(x=x, color=color)
    still = main().transform_calculate(line=f"'{names[1]}'").encode(x=x, color=color)
    chart = alt.layer(
        mean.mark_area(opacity=0.12).encode(y="lower:Q", y2="upper:Q"),
        mean.mark_area(opacity=0.3).encode(y="low:Q", y2="high:Q"),
        still.mark_line(strokeDash=[5, 4]).encode(y="standing:Q"),
        mean.mark_line(point={"filled": True, "size": 40}).encode(y=y, tooltip=tooltip),
    )
    text = f"{found.sentence}: mean probability of the label and share of right answers, falling as the change grows."
    return Drawing.of(f"epsilon-confidence-{at}", text, chart, rows, height=280)


def size_axis(field: str, norm: str, domain: list[float]) -> alt.X:
    """A logarithmic axis of sizes that are already in the unit of the eye."""
    title = TITLES.get(norm, f"{norm.upper()} of the change")
    axis = alt.Axis(title=title, format=".3~g", tickCount=6, labelOverlap=True)
    return alt.X(f"{field}:Q", axis=axis, scale=alt.Scale(type="log", domain=domain, nice=False))


def size_range(sizes: Sequence[float | None], room: float = 1.0) -> list[float]:
    """From the smallest to the largest size that has a place on a logarithmic axis, with room at both ends."""
    known = [size for size in sizes if size]
    return [min(known) / room, max(known) * room]


def axis_size(size: float, norm: str) -> float | None:
    """A size as the eye reads it: of L∞ in 1/255."""
    return number(size * 255 if norm == "linf" else size)


def _lines(searches: Sequence[MinimalPerturbation]) -> dict[str, tuple[tuple[float, float], ...]]:
    found = {search.condition: search.ecdf for search in searches[:MOST]}
    attacks = {attack.condition: attack.ecdf for search in searches[:MOST] for attack in search.comparisons}
    return {name: ecdf for name, ecdf in (found | {k: v for k, v in attacks.items() if k not in found}).items() if ecdf}


def _steps(name: str, ecdf: Sequence[tuple[float, float]], norm: str) -> Rows:
    """A size of 0 has no place on a logarithmic axis; what stands there stands up to every change that was tried."""
    rows: Rows = [
        {"search": name, "eps": axis_size(size, norm), "standing": number(share)} for size, share in ecdf if size
    ]
    start = next((share for size, share in ecdf if not size), None)
    return rows if start is None or not rows else [rows[0] | {"standing": number(start)}, *rows]


def _standing(norm: str, rows: Rows) -> Drawing:
    names = list(dict.fromkeys(row["search"] for row in rows))
    scale = alt.Scale(domain=names)
    chart = alt.layer(
        main()
        .mark_line(interpolate="step-after")
        .encode(
            x=size_axis("eps", norm, size_range([row["eps"] for row in rows])),
            y=alt.Y("standing:Q", axis=share_axis("images still right"), scale=alt.Scale(domain=[0, 1])),
            color=alt.Color("search:N", scale=scale),
            strokeDash=alt.StrokeDash("search:N", scale=scale),
            tooltip=[
                alt.Tooltip("search:N", title="search"),
                alt.Tooltip("eps:Q", title="size", format=".3~"),
                alt.Tooltip("standing:Q", title="still right", format=".1%"),
            ],
        )
    )
    text = f"Share of images that no change up to a size flips, on a logarithmic axis, for {', '.join(names)}."
    return Drawing.of(f"epsilon-standing-{norm}", text, chart, rows, height=280)


def _moving(points: Sequence[Confidence]) -> Sequence[Confidence]:
    """Without the flat part on the left, where nothing has happened yet."""
    known = [point for point in points if math.isfinite(point.mean.value)]
    flat = sum(1 for point in known if point.mean.value >= _STILL * known[0].mean.value)
    return known[max(0, min(flat - 1, len(known) - 2)) :]


def _row(point: Confidence, norm: str) -> dict[str, Any]:
    return {
        "eps": axis_size(point.eps, norm),
        "mean": number(point.mean.value),
        "low": number(point.mean.low),
        "high": number(point.mean.high),
        "lower": number(point.lower),
        "upper": number(point.upper),
        "standing": number(point.accuracy.value),
    }


ALL_ATTACKS = "all attacks together"
"""The line of what nothing fooled, beside the attacks one by one."""


def against_eps(results: Results) -> Drawing | None:
    """Accuracy against the largest change an attack may make; None where none has a size in pixels."""
    rows = _marked(results, [row for row in results.conditions if row.kind == "attack" and _has_place(row, results)])
    found = next((each for each in results.robustness if each.norm == "linf" and each.curve), None)
    rows += [] if found is None else [_curve_row(point, found.n) for point in found.curve]
    return _drawn("accuracy-eps", "largest change per pixel (0 to 1)", rows) if rows else None


def _curve_row(point: SizePoint, n: int) -> dict[str, Any]:
    place = _place(ALL_ATTACKS, point.eps, point.robust_accuracy, n, curve=True)
    return place | {"ensemble": point.ensemble}


def _has_place(row: ConditionRow, results: Results) -> bool:
    """Attacks that keep points of one size, measured in pixels, and may end in any other class."""
    curve = {found.condition for found in results.robustness if found.curve}
    elsewhere = {attack.condition for attack in results.attacks if attack.norm != "linf" or attack.target is not None}
    return row.severity > 0 and row.condition not in curve | elsewhere


def against_severity(results: Results) -> Drawing | None:
    """Accuracy against the severity of a corruption; None where none ran."""
    return _falling(results, "corruption", "severity", "accuracy-severity")


def _falling(results: Results, kind: str, title: str, name: str) -> Drawing | None:
    chosen = [row for row in results.conditions if row.kind == kind and row.severity > 0]
    return _drawn(name, title, _marked(results, chosen)) if chosen else None


def _drawn(name: str, title: str, rows: list[dict[str, Any]]) -> Drawing:
    """Lines with points and interval bars; a curve of many points has a band, and a mark where an ensemble was run."""
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
    if any(row["ensemble"] for row in rows):
        sized = base.transform_filter("datum.ensemble")
        layers.append(
            sized.mark_point(filled=True, size=90, shape="diamond", opacity=1).encode(y=y, tooltip=_tooltip())
        )
    text = f"Line chart of the share of right answers against {title}, for {', '.join(labels)}; numbers in the table."
    return Drawing.of(name, text, alt.layer(*layers), rows, height=280)


def _marked(results: Results, chosen: Sequence[ConditionRow]) -> list[dict[str, Any]]:
    """Each family's conditions in order of severity, the clean images first."""
    clean = [row for row in results.conditions if row.kind == "clean"]
    families = dict.fromkeys(row.family for row in chosen)
    return [_accuracy_row(row, family) for family in families for row in (*clean, *_of(chosen, family))]


def _of(rows: Sequence[ConditionRow], family: str) -> list[ConditionRow]:
    return sorted((row for row in rows if row.family == family), key=lambda row: row.severity)


def _accuracy_row(row: ConditionRow, family: str) -> dict[str, Any]:
    return _place(readable(family), row.severity, row.accuracy, row.n, curve=False)


def _place(family: str, severity: float, right: Quantity, n: int, *, curve: bool) -> dict[str, Any]:
    return {
        "family": family,
        "severity": number(severity),
        "accuracy": number(right.value),
        "low": number(right.low),
        "high": number(right.high),
        "n": n,
        "curve": curve,
        "ensemble": False,
    }


def _tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("family:N", title="condition"),
        alt.Tooltip("severity:Q", format=".4"),
        alt.Tooltip("accuracy:Q", title="right", format=".1%"),
        alt.Tooltip("n:Q", title="images", format=","),
    ]
