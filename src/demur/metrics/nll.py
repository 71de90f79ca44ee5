"""Negative log-likelihood."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_softmax

from demur.metrics.proportion import mean
from demur.metrics.ranking import Floats, Value


def nll(logits: ArrayLike, labels: ArrayLike, weights: Floats | None = None) -> Value:
    """Mean −log p of the true class, in nats: high when the truth was thought unlikely.

    From logits (n, classes) by log-softmax in float64, so that saturated errors stay finite; NaN for no rows.
    """
    scores, truth = np.asarray(logits, np.float64), np.asarray(labels, np.intp)
    return mean(-log_softmax(scores, axis=1)[np.arange(len(truth)), truth], weights)
