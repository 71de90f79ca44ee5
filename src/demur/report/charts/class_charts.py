"""Classes below one another, each with its value and interval, and every chart of minimal perturbations and regions."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import altair as alt

from demur.analysis.attribution.region_tables import ClassRegion, Region
from demur.analysis.results import Results
from demur.analysis.robustness.censored_quantiles import CensoredQuantile, End
from demur.analysis.robustness.minimal_perturbation import ClassSearch, MinimalPerturbation
from demur.report.charts.chart_theme import ARROW, MEASURED, Drawing, Rows, inline, main
from demur.report.charts.perturbation_charts import MOST, axis_size, following, size_axis, size_range, standing_chart
from demur.report.perturbation_words import perturbation_size, size_words

CLASSES_SHOWN, END = 30, 15
GAP = "⋯"
_FURTHEST = 2.0
_LINE, _FRAME, _ROOM, _LABEL = 20, 50, 1.25, 150
_ENDS = ("lower", "low", "median", "high", "upper")
_LEANS = ("object", "background", "undecided")
Row = TypeVar("Row", ClassSearch, ClassRegion)


def class_sizes(found: MinimalPerturbation, at: int) -> Drawing | None:
    """Median of the minimal perturbation by class with interval and middle half; arrows point to ends out of sight."""
    kept = [row for row in found.per_class if row.rank is not None]
    edge = found.cap if math.isfinite(found.cap) else found.maximum
    shown = _shortened(sorted(kept, key=lambda row: row.rank or 0))
    names = _labels(shown)
    rows = [_size_row(name, row, found.norm, edge) for name, row in zip(names, shown, strict=True) if row]
    if not any(row[end] for row in rows for end in _ENDS):
        return None
    domain = size_range([row[end] for row in rows for end in _ENDS], _ROOM)
    x = size_axis("median", found.norm, domain)
    rows = [row | {end: row[end] or domain[0] for end in _ENDS} for row in rows]
    base = main().encode(y=_lines(names), tooltip=_tooltip("median change"))
    chart = alt.layer(
        base.mark_rule(style="quiet", strokeWidth=8).encode(x="lower:Q", x2="upper:Q"),
        base.mark_rule(style="spread", strokeWidth=2).encode(x="low:Q", x2="high:Q"),
        base.transform_filter("datum.below").mark_point(shape="triangle-left", **ARROW).encode(x="low:Q"),
        base.transform_filter("datum.beyond").mark_point(shape="triangle-right", **ARROW).encode(x="high:Q"),
        base.transform_filter("datum.dot").mark_point(opacity=1, **MEASURED).encode(x=x),
    )
    text = f"Median perturbation for {len(rows)} classes, the first to flip on top; numbers in the table."
    return Drawing.of(f"epsilon-classes-{at}", text, chart, rows, height=_height(names))


def class_regions(found: Region, at: int) -> Drawing | None:
    """Background − object by class with interval, sorted; right of the zero line the class leans on the object."""
    kept = [row for row in found.per_class if row.rank is not None and math.isfinite(row.difference.value)]
    shown = _shortened(sorted(kept, key=lambda row: -row.difference.value))
    names = _labels(shown)
    rows = [_region_row(name, row, found.norm) for name, row in zip(names, shown, strict=True) if row]
    if not rows:
        return None
    low, high = _window(rows)
    rows = [row | {"low": _within(row["low"], low, high), "high": _within(row["high"], low, high)} for row in rows]
    leans = alt.Scale(domain=list(_LEANS), range=["var(--series-1)", "var(--series-2)", "var(--series-6)"])
    unit = "1/255 of full brightness" if found.norm == "linf" else f"{found.norm.upper()} of the change"
    axis = alt.Axis(title=f"background − object, {unit}", tickCount=6, format="+.3~g", labelOverlap=True)
    base = main().encode(y=_lines(names), tooltip=_tooltip("background − object"))
    color, shape = alt.Color("leans:N", scale=leans), alt.Shape("leans:N", scale=alt.Scale(domain=list(_LEANS)))
    point = base.mark_point(filled=True, opacity=1, size=90)
    chart = alt.layer(
        inline([{"difference": 0}]).mark_rule(style="random").encode(x="difference:Q"),
        base.mark_rule(strokeWidth=2).encode(x="low:Q", x2="high:Q", color=color),
        point.encode(x=alt.X("difference:Q", axis=axis, scale=alt.Scale(domain=[low, high])), color=color, shape=shape),
    )
    text = f"Difference of perturbations, background minus object, for {len(rows)} classes; numbers in the table."
    return Drawing.of(f"attribution-classes-{at}", text, chart, rows, height=_height(names))


def _shortened(rows: Sequence[Row]) -> list[Row | None]:
    """All rows, or both ends of too many with a gap between."""
    shown: list[Row | None] = list(rows)
    if len(shown) > CLASSES_SHOWN:
        shown[END:-END] = [None]
    return shown


def _labels(rows: Sequence[Row | None]) -> list[str]:
    """A name for every line; classes of one name are told apart."""
    names: list[str] = []
    for row in rows:
        name = GAP if row is None else row.name
        again = sum(1 for other in rows[: len(names)] if other and row and other.name == row.name)
        names.append(f"{name} ({again + 1})" if again else name)
    return names


def _lines(names: Sequence[str]) -> alt.Y:
    axis = alt.Axis(title=None, labelLimit=_LABEL, labelFontSize=12, grid=True)
    return alt.Y("name:N", axis=axis, scale=alt.Scale(domain=list(names)))


def _height(names: Sequence[str]) -> int:
    return _LINE * len(names) + _FRAME


def _size_row(name: str, row: ClassSearch, norm: str, edge: float) -> dict[str, Any]:
    """The median and what surrounds it; an end out of sight stands at the edge, one not known at the median."""
    median = row.median
    middle = _place(median, "value", edge, edge)
    low, high = (_place(median, end, middle, edge) for end in ("low", "high"))
    lower, upper = (_place(quartile, "value", middle, edge) for quartile in (row.lower, row.upper))
    sizes = dict(zip(_ENDS, (lower, low, middle, high, upper), strict=True))
    return {key: axis_size(size, norm) for key, size in sizes.items()} | {
        "name": name,
        "n": row.n,
        "dot": bool(middle) and "value" not in median.above,
        "below": not low,
        "beyond": bool({"value", "high"} & set(median.above)),
        "text": perturbation_size(median, norm),
    }


def _place(found: CensoredQuantile, end: End, unknown: float, edge: float) -> float:
    size: float = getattr(found, end)
    return size if math.isfinite(size) else edge if end in found.above else unknown


def _region_row(name: str, row: ClassRegion, norm: str) -> dict[str, Any]:
    ends = {"difference": row.difference.value, "low": row.difference.low, "high": row.difference.high}
    return {key: axis_size(end, norm) for key, end in ends.items()} | {
        "name": name,
        "n": row.n,
        "leans": row.reliance,
        "text": size_words(row.difference, norm),
    }


def _window(rows: Rows) -> tuple[float, float]:
    """What the axis shows: zero, every median and its interval, but long intervals are cut off."""
    middles = [0.0, *(row["difference"] for row in rows)]
    most = _FURTHEST * max(abs(middle) for middle in middles) or math.inf
    ends = [end for row in rows for end in (row["low"], row["high"]) if end is not None]
    return min(*middles, max(-most, min(ends, default=0.0))), max(*middles, min(most, max(ends, default=0.0)))


def _within(end: float | None, low: float, high: float) -> float | None:
    return end if end is None else min(max(end, low), high)


def _tooltip(title: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("name:N", title="class"),
        alt.Tooltip("text:N", title=title),
        alt.Tooltip("n:Q", title="images", format=","),
    ]


def perturbation_charts(results: Results) -> Iterator[Drawing | None]:
    """Charts of the minimal perturbations, then of object against background; None where there is nothing to draw."""
    yield from standing_chart(results)
    for at, found in enumerate(results.epsilon[:MOST]):
        yield class_sizes(found, at)
        yield following(found, at)
    for at, region in enumerate(results.attribution.regions[:MOST] if results.attribution else ()):
        yield class_regions(region, at)
