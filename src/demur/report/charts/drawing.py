"""A chart with the words that stand for it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import altair as alt

from demur.report.charts.theme import THEME

Rows: TypeAlias = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A Vega-Lite specification, and the sentence a reader hears who cannot see it."""

    name: str
    alt: str
    spec: Mapping[str, Any]

    @classmethod
    def of(cls, name: str, alt_text: str, chart: alt.LayerChart, rows: Rows, height: int) -> "Drawing":
        """Fit a layered chart to the width of its place on the page, and add the rows that `main` names."""
        spec = chart.properties(width="container", height=height).to_dict()
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
