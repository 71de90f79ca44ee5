"""Arrays → numbers with intervals.

`uncertainty` scores are higher = more uncertainty, `wrong` is one flag per row, an answer is accepted where
uncertainty ≤ threshold. A metric takes optional row weights: none or (n,) give a float, (replicates, n) gives one
number per replicate.
"""

from demur.metrics.binomial import (
    labels_without_error,
    mean,
    p_value,
    power_start,
    proportion,
    risk_upper_bound,
    wilson,
)
from demur.metrics.bootstrap import Metric, Resampler
from demur.metrics.calibration import ReliabilityBin, brier, ece, nll, reliability
from demur.metrics.estimate import Estimate, Unit
from demur.metrics.failure_table import FailureTable, balanced_accuracy, failure_table
from demur.metrics.ranking import (
    RiskCurve,
    augrc,
    aupr,
    aurc,
    auroc,
    coverage_at_risk,
    eaurc,
    fpr95,
    oracle,
    random_risk,
    risk_at_coverage,
    risk_coverage,
    selective_risk,
)

__all__ = [
    "Estimate",
    "FailureTable",
    "Metric",
    "ReliabilityBin",
    "Resampler",
    "RiskCurve",
    "Unit",
    "augrc",
    "aupr",
    "aurc",
    "auroc",
    "balanced_accuracy",
    "brier",
    "coverage_at_risk",
    "eaurc",
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
