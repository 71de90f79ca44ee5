"""Arrays → numbers with intervals.

`doubt` scores are higher = more doubt, `wrong` is one flag per row, an answer is accepted where doubt ≤ threshold. A
metric takes optional row weights: none or (n,) give a float, (replicates, n) gives one number per replicate.
"""

from demur.metrics.augrc import augrc
from demur.metrics.aupr import aupr
from demur.metrics.aurc import aurc
from demur.metrics.auroc import auroc
from demur.metrics.binomial import labels_without_error, p_value, power_start, risk_upper_bound, wilson
from demur.metrics.brier import brier
from demur.metrics.calibration import ReliabilityBin, ece, reliability
from demur.metrics.coverage import coverage_at_risk, risk_at_coverage, selective_risk
from demur.metrics.curve import Curve, oracle, random_risk, risk_coverage
from demur.metrics.estimate import Estimate, Unit
from demur.metrics.failure_table import FailureTable, balanced_accuracy, failure_table
from demur.metrics.fpr import fpr95
from demur.metrics.nll import nll
from demur.metrics.proportion import mean, proportion
from demur.metrics.resampling import Metric, Resampler

__all__ = [
    "Curve",
    "Estimate",
    "FailureTable",
    "Metric",
    "ReliabilityBin",
    "Resampler",
    "Unit",
    "augrc",
    "aupr",
    "aurc",
    "auroc",
    "balanced_accuracy",
    "brier",
    "coverage_at_risk",
    "ece",
    "failure_table",
    "fpr95",
    "labels_without_error",
    "mean",
    "nll",
    "oracle",
    "p_value",
    "power_start",
    "proportion",
    "random_risk",
    "reliability",
    "risk_at_coverage",
    "risk_coverage",
    "risk_upper_bound",
    "selective_risk",
    "wilson",
]
