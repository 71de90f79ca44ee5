"""The charts of the report, as Vega-Lite specifications without a colour of their own."""

from demur.report.charts.drawing import Drawing
from demur.report.charts.far import far
from demur.report.charts.histograms import histograms
from demur.report.charts.parts import parts
from demur.report.charts.reliability import reliability
from demur.report.charts.risk_coverage import risk_coverage
from demur.report.charts.robustness import against_eps, against_severity

__all__ = [
    "Drawing",
    "against_eps",
    "against_severity",
    "far",
    "histograms",
    "parts",
    "reliability",
    "risk_coverage",
]
