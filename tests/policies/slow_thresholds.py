"""Slow, obvious thresholds: every cut between two rows is tried, and counted row by row."""

import itertools
import math


def cuts(negative, positive):
    """From one that flags all to one that flags none."""
    distinct = sorted({*negative, *positive})
    inner = [(low + high) / 2 for low, high in itertools.pairwise(distinct)]
    return [math.nextafter(distinct[0], -math.inf), *inner, math.inf]


def share(scores, cut):
    return sum(score > cut for score in scores) / len(scores)


def best(negative, positive, cost, *, strictest):
    """The cut at the least cost, and of several the strictest or the laxest."""
    tried = [(round(cost(share(negative, cut), share(positive, cut)), 9), cut) for cut in cuts(negative, positive)]
    least = min(cost for cost, _ in tried)
    found = [cut for cost, cut in tried if cost == least]
    return found[0] if strictest else found[-1]


def youden(negative, positive, _level):
    return best(negative, positive, lambda fpr, recall: fpr - recall, strictest=False)


def least_fpr_fnr(negative, positive, _level):
    return best(negative, positive, lambda fpr, recall: fpr + (1 - recall), strictest=False)


def balanced_recall(negative, positive, _level):
    def cost(fpr, recall):
        return abs(recall - (1 - fpr)) - 1e-4 * (recall + 1 - fpr)

    return best(negative, positive, cost, strictest=True)


def target_fpr(negative, positive, level):
    return next(cut for cut in cuts(negative, positive) if share(negative, cut) <= level + 1e-9)


def target_recall(negative, positive, level):
    return [cut for cut in cuts(negative, positive) if share(positive, cut) >= level - 1e-9][-1]


def target_coverage(negative, positive, level):
    everything = [*negative, *positive]
    return next(cut for cut in cuts(negative, positive) if 1 - share(everything, cut) >= level - 1e-9)


def midpoint(negative, positive, _level):
    return (sum(negative) / len(negative) + sum(positive) / len(positive)) / 2


def mean_sigma(negative, _positive, level):
    mean = sum(negative) / len(negative)
    return mean + level * math.sqrt(sum((score - mean) ** 2 for score in negative) / (len(negative) - 1))


def percentile(negative, _positive, level):
    ordered = sorted(negative)
    place = level * (len(ordered) - 1)
    low = math.floor(place)
    return ordered[low] + (place - low) * (ordered[min(low + 1, len(ordered) - 1)] - ordered[low])


METHODS = {
    "balanced_recall": (balanced_recall, [None]),
    "least_fpr_fnr": (least_fpr_fnr, [None]),
    "mean_sigma": (mean_sigma, [None, 1.0, 3.5]),
    "mean_sigma_two_sided": (mean_sigma, [None, 1.5]),
    "midpoint": (midpoint, [None]),
    "percentile": (percentile, [None, 0.5, 0.9]),
    "target_coverage": (target_coverage, [None, 0.5, 0.77]),
    "target_fpr": (target_fpr, [None, 0.1, 0.33]),
    "target_recall": (target_recall, [None, 0.5, 0.77]),
    "youden": (youden, [None]),
}
"""Method → its slow reference and the levels to try; None is the default."""

DEFAULTS = {"mean_sigma": 2.0, "mean_sigma_two_sided": 2.0, "percentile": 0.95, "target_coverage": 0.9,
            "target_fpr": 0.05, "target_recall": 0.9}  # fmt: skip
