"""A chart with the words that stand for it, and how every chart looks."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import altair as alt

FONT = (
    'Inter, "Segoe UI", -apple-system, "Helvetica Neue", "Noto Sans", "Liberation Sans", system-ui, Arial, sans-serif'
)

THEME: Mapping[str, Any] = {
    "background": "transparent",
    "font": FONT,
    "padding": {"left": 2, "right": 12, "top": 8, "bottom": 2},
    "autosize": {"type": "fit-x", "contains": "padding"},
    "view": {"stroke": "transparent"},
    "axis": {
        "domainColor": "var(--rule)",
        "gridColor": "var(--grid)",
        "labelColor": "var(--soft)",
        "labelFontSize": 12,
        "labelPadding": 6,
        "tickColor": "var(--rule)",
        "tickSize": 4,
        "titleColor": "var(--ink)",
        "titleFontSize": 12,
        "titleFontWeight": 600,
        "titlePadding": 10,
    },
    "axisX": {"grid": False, "titleAnchor": "end"},
    "axisY": {
        "domain": False,
        "ticks": False,
        "titleAngle": 0,
        "titleAlign": "left",
        "titleAnchor": "end",
        "titleX": 0,
        "titleY": -12,
        "titleBaseline": "bottom",
    },
    "legend": {
        "labelColor": "var(--ink)",
        "labelFontSize": 12.5,
        "labelLimit": 260,
        "offset": 28,
        "orient": "top",
        "padding": 0,
        "symbolSize": 90,
        "symbolStrokeWidth": 2,
        "title": None,
    },
    "line": {"strokeWidth": 2},
    "range": {"category": [f"var(--series-{at})" for at in range(1, 7)]},
    "rule": {"color": "var(--soft)"},
    "text": {"color": "var(--soft)", "fontSize": 12},
    "style": {
        "quiet": {"color": "var(--quiet)", "strokeWidth": 1.5},
        "chosen": {"color": "var(--accent)", "strokeWidth": 2.5},
        "oracle": {"color": "var(--good)", "strokeWidth": 1.5, "strokeDash": [5, 4]},
        "random": {"color": "var(--soft)", "strokeWidth": 1.5, "strokeDash": [2, 3]},
        "guarantee": {"color": "var(--stop)", "strokeWidth": 1.25},
        "diagonal": {"color": "var(--soft)", "strokeWidth": 1.25, "strokeDash": [2, 3]},
        "spread": {"color": "var(--accent)", "strokeWidth": 1.5},
        "label": {"color": "var(--soft)", "fontSize": 12},
        "oracle-label": {"color": "var(--good)", "fontSize": 12},
        "guarantee-label": {"color": "var(--stop)", "fontSize": 12},
        "certified-label": {"color": "var(--accent)", "fontSize": 12, "fontWeight": 600},
    },
}

POINTER: Mapping[str, Any] = {"fill": "transparent", "stroke": "var(--accent)", "strokeWidth": 2.5, "size": 300}
CERTIFIED: Mapping[str, Any] = {
    "fill": "var(--accent)",
    "stroke": "var(--paper)",
    "strokeWidth": 1,
    "size": 130,
    "shape": "diamond",
}
MEASURED: Mapping[str, Any] = {"fill": "var(--accent)", "stroke": "var(--paper)", "strokeWidth": 1.5, "size": 90}
ARROW: Mapping[str, Any] = {"filled": True, "size": 80, "opacity": 1, "color": "var(--accent)"}

Rows: TypeAlias = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A Vega-Lite specification, and the sentence a reader hears who cannot see it."""

    name: str
    alt: str
    spec: Mapping[str, Any]

    @classmethod
    def of(cls, name: str, alt_text: str, chart: alt.LayerChart, rows: Rows, height: int) -> "Drawing":
        """Fit a layered chart to the width of its place on the page, and add the rows that `main` names.

        That the specification is valid is tested; to check it for every page takes longer than to make it.
        """
        spec = chart.properties(width="container", height=height).to_dict(validate=False)
        del spec["$schema"]
        datasets = spec.get("datasets", {}) | {"rows": rows}
        return cls(name=name, alt=alt_text, spec=spec | {"config": THEME, "datasets": datasets})


def number(value: float) -> float | None:
    """A number for JSON, six significant digits; None where it is undefined."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def inline(rows: Rows) -> alt.Chart:
    """A chart over a few rows of its own."""
    return alt.Chart(alt.InlineData(values=rows))


def main() -> alt.Chart:
    """A chart over the rows of its drawing; by name, for altair copies and checks inline rows many times over."""
    return alt.Chart(alt.NamedData(name="rows"))


def share_axis(title: str, ticks: int = 6) -> alt.Axis:
    """An axis of shares, read in per cent."""
    return alt.Axis(title=title, format="~%", tickCount=ticks)
