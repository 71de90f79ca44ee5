"""Brier score."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import softmax

from demur.metrics.proportion import mean
from demur.metrics.ranking import Floats, Value


def brier(logits: ArrayLike, labels: ArrayLike, weights: Floats | None = None) -> Value:
    """Mean squared distance ‖p − e_y‖² of the probabilities to the truth, 0 to 2: high when sure and wrong.

    From logits (n, classes) by softmax in float64; NaN for no rows.
    Brier (1950), "Verification of forecasts expressed in terms of probability".
    """
    scores, truth = np.asarray(logits, np.float64), np.asarray(labels, np.intp)
    distance = softmax(scores, axis=1)
    distance[np.arange(len(truth)), truth] -= 1
    return mean((distance**2).sum(axis=1), weights)
