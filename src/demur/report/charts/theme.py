"""How every chart looks: all colours are CSS variables of the page, so that a change of theme needs no redrawing."""

from collections.abc import Mapping
from typing import Any

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
        "promise": {"color": "var(--stop)", "strokeWidth": 1.25},
        "diagonal": {"color": "var(--soft)", "strokeWidth": 1.25, "strokeDash": [2, 3]},
        "spread": {"color": "var(--accent)", "strokeWidth": 1.5},
        "label": {"color": "var(--soft)", "fontSize": 12},
        "oracle-label": {"color": "var(--good)", "fontSize": 12},
        "promise-label": {"color": "var(--stop)", "fontSize": 12},
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
