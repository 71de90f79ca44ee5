"""A chart with the words that stand for it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt

from demur.report.charts.theme import THEME


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A Vega-Lite specification, and the sentence a reader hears who cannot see it."""

    name: str
    alt: str
    spec: Mapping[str, Any]

    @classmethod
    def of(cls, name: str, alt_text: str, chart: alt.LayerChart, height: int) -> "Drawing":
        """Fit a layered chart to the width of its place on the page."""
        spec = chart.properties(width="container", height=height).to_dict()
        del spec["$schema"]
        return cls(name=name, alt=alt_text, spec=spec | {"config": THEME})


def number(value: float) -> float | None:
    """A number for JSON, six significant digits; None where it is undefined."""
    return None if math.isnan(value) else float(f"{value:.6g}")


def source(rows: list[dict[str, Any]]) -> alt.Chart:
    """A chart over rows that stay in the specification."""
    return alt.Chart(alt.Data(values=rows))


def share_axis(title: str, ticks: int = 6) -> alt.Axis:
    """An axis of shares, read in per cent."""
    return alt.Axis(title=title, format="~%", tickCount=ticks)
