"""Slow, obvious references: each copies its definition, one row at a time."""

import itertools
import math


def auroc(uncertainty, wrong):
    pairs = [
        (d, e)
        for d, w in zip(uncertainty, wrong, strict=True)
        if w
        for e, v in zip(uncertainty, wrong, strict=True)
        if not v
    ]
    return sum((d > e) + 0.5 * (d == e) for d, e in pairs) / len(pairs) if pairs else math.nan


def aupr(uncertainty, wrong):
    errors = sum(wrong)
    if not errors:
        return math.nan
    total = 0.0
    for threshold in set(uncertainty):
        flagged = [w for d, w in zip(uncertainty, wrong, strict=True) if d >= threshold]
        here = sum(w for d, w in zip(uncertainty, wrong, strict=True) if d == threshold)
        total += here / errors * sum(flagged) / len(flagged)
    return total


def fpr95(uncertainty, wrong):
    errors, rights = sum(wrong), len(wrong) - sum(wrong)
    if not errors or not rights:
        return math.nan
    for threshold in sorted(set(uncertainty), reverse=True):
        flagged = [w for d, w in zip(uncertainty, wrong, strict=True) if d >= threshold]
        if 100 * sum(flagged) >= 95 * errors:
            return (len(flagged) - sum(flagged)) / rights
    raise AssertionError


def augrc(uncertainty, wrong):
    n, points = len(uncertainty), [(0.0, 0.0)]
    for threshold in sorted(set(uncertainty)):
        accepted = [w for d, w in zip(uncertainty, wrong, strict=True) if d <= threshold]
        points.append((len(accepted) / n, sum(accepted) / n))
    return sum((x - u) * (y + v) / 2 for (u, v), (x, y) in itertools.pairwise(points))


def aurc(uncertainty, wrong):
    """The expectation over tie orders, one accepted row at a time."""
    n, total, sure, mistakes = len(uncertainty), 0.0, 0, 0.0
    for score in sorted(set(uncertainty)):
        tie = [w for d, w in zip(uncertainty, wrong, strict=True) if d == score]
        for _ in tie:
            sure += 1
            mistakes += sum(tie) / len(tie)
            total += mistakes / sure
    return total / n


def eaurc(uncertainty, wrong):
    """Less what is left when the errors come last, counted one by one."""
    ordered = sorted(wrong)
    best = sum(sum(ordered[:k]) / k for k in range(1, len(ordered) + 1)) / len(ordered)
    return aurc(uncertainty, wrong) - best


def coverage_at_risk(uncertainty, wrong, risk):
    best = 0.0
    for threshold in uncertainty:
        accepted = [w for d, w in zip(uncertainty, wrong, strict=True) if d <= threshold]
        if sum(accepted) <= risk * len(accepted):
            best = max(best, len(accepted) / len(uncertainty))
    return best


def risk_at_coverage(uncertainty, wrong, coverage):
    for threshold in sorted(uncertainty):
        accepted = [w for d, w in zip(uncertainty, wrong, strict=True) if d <= threshold]
        if len(accepted) >= coverage * len(uncertainty):
            return sum(accepted) / len(accepted)
    raise AssertionError


def selective_risk(uncertainty, wrong, threshold):
    accepted = [w for d, w in zip(uncertainty, wrong, strict=True) if d <= threshold]
    return sum(accepted) / len(accepted) if accepted else math.nan


def ece(confidence, right, bins):
    total = 0.0
    for index in range(bins):
        inside = [
            (c, r)
            for c, r in zip(confidence, right, strict=True)
            if index / bins < c <= (index + 1) / bins or (index == 0 and c == 0)
        ]
        total += abs(sum(r for _, r in inside) - sum(c for c, _ in inside))
    return total / len(confidence)
