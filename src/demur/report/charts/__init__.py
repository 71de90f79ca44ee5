"""The charts of the report, as Vega-Lite specifications without a colour of their own."""

from demur.report.charts.chart_theme import Drawing
from demur.report.charts.class_charts import perturbation_charts
from demur.report.charts.coverage_chart import coverage_chart
from demur.report.charts.perturbation_charts import against_eps, against_severity
from demur.report.charts.risk_charts import reliability_chart, risk_coverage_chart
from demur.report.charts.score_charts import histogram_charts, part_charts

__all__ = [
    "Drawing",
    "against_eps",
    "against_severity",
    "coverage_chart",
    "histogram_charts",
    "part_charts",
    "perturbation_charts",
    "reliability_chart",
    "risk_coverage_chart",
]
