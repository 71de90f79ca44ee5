"""Simulated scores and what is counted from them: curves, histograms, intervals."""

import math
from functools import cache

import numpy as np

from demur.analysis.accuracy.chart_data import CurvePoint, Histogram, RiskCoverage
from demur.analysis.quantity import Quantity

ANSWERED, WRONG, SEEN = 2814, 34, 4012


def share(value, n, unit="image"):
    """A Wilson interval."""
    z2 = 1.96**2
    middle, half = (value + z2 / (2 * n)), 1.96 * math.sqrt(value * (1 - value) / n + z2 / (4 * n * n))
    return Quantity(
        value=value, low=(middle - half) / (1 + z2 / n), high=(middle + half) / (1 + z2 / n), n=n, unit=unit
    )


def near(value, half, n=SEEN):
    return Quantity(value=value, low=value - half, high=value + half, n=n)


def undefined(reason, n=0):
    return Quantity(value=math.nan, low=math.nan, high=math.nan, n=n, reason=reason)


@cache
def simulated():
    """Uncertainty and outcome of the test rows, with the guaranteed point exact: 34 wrong of the 2,814 least
    doubted.
    """
    rng = np.random.default_rng(7)
    rank = np.arange(SEEN)
    uncertainty = np.sort(rng.beta(0.35, 1.6, SEEN))
    wrong = np.zeros(SEEN, bool)
    wrong[
        rng.choice(
            ANSWERED, WRONG, replace=False, p=np.exp(rank[:ANSWERED] / 700) / np.exp(rank[:ANSWERED] / 700).sum()
        )
    ] = True
    wrong[ANSWERED + rng.choice(SEEN - ANSWERED, 282, replace=False)] = True
    return uncertainty, wrong


def curve(name, noise):
    uncertainty, wrong = simulated()
    score = (
        uncertainty
        if name == "msp"
        else uncertainty + np.random.default_rng(len(name)).normal(0, 0.02 + abs(noise), SEEN)
    )
    order = np.argsort(score)
    cut = np.unique(np.append(np.linspace(60, SEEN, 160).astype(int), ANSWERED))
    errors = np.cumsum(wrong[order])
    points = tuple(CurvePoint(threshold=score[order][k - 1], coverage=k / SEEN, risk=errors[k - 1] / k) for k in cut)
    return RiskCoverage(signal=name, points=points)


def oracle():
    _, wrong = simulated()
    cut = np.linspace(60, SEEN, 120).astype(int)
    right = (~wrong).sum()
    return RiskCoverage(
        signal="oracle",
        points=tuple(CurvePoint(threshold=k / SEEN, coverage=k / SEEN, risk=max(0, k - right) / k) for k in cut),
    )


def histogram(name):
    uncertainty, wrong = simulated()
    rng = np.random.default_rng(3)
    edges = np.linspace(0, 1, 31)
    groups = [uncertainty[~wrong], uncertainty[wrong], rng.beta(0.9, 1.2, 6000), rng.beta(0.5, 2.2, 1500)]
    counts = [tuple(int(c) for c in np.histogram(group, edges)[0]) for group in groups]
    return Histogram(
        signal=name, edges=tuple(edges), right=counts[0], wrong=counts[1], corrupted=counts[2], attacked=counts[3]
    )
