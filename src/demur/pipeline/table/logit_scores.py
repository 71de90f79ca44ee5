"""The signals that logits alone give, from a table: the same numbers as those measured with a model."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_softmax, logsumexp

from demur.policies.policy import Floats


def msp(z: Floats) -> Floats:
    """One minus the largest probability, of logits (rows, classes); as σ of log-odds, so that none rounds to 0."""
    largest, others = _split(z)
    return np.asarray(expit(others - largest), np.float64)


def margin(z: Floats) -> Floats:
    """One minus the gap between the two largest probabilities."""
    second = np.partition(z, -2, axis=1)[:, -2]
    return msp(z) + np.exp(second - logsumexp(z, axis=1))


def entropy(z: Floats) -> Floats:
    """−Σ p ln p in nats."""
    log_p = log_softmax(z, axis=1)
    return np.asarray(-(np.exp(log_p) * log_p).sum(axis=1), np.float64)


def max_logit(z: Floats) -> Floats:
    """The largest logit with its sign turned."""
    return np.asarray(-z.max(axis=1), np.float64)


def energy(z: Floats) -> Floats:
    """−log Σ exp z."""
    return np.asarray(-logsumexp(z, axis=1), np.float64)


LOGIT_SCORES: Mapping[str, Callable[[Floats], Floats]] = {
    "msp": msp,
    "entropy": entropy,
    "margin": margin,
    "max_logit": max_logit,
    "energy": energy,
}
"""By the names of the signals."""

_CHUNK = 1 << 16


def scores_of(logits: NDArray[np.float32], name: str) -> Floats:
    """One signal (rows,) of logits (rows, classes), higher = more uncertainty, without a copy of all in float64."""
    parts = (logits[at : at + _CHUNK].astype(np.float64) for at in range(0, len(logits), _CHUNK))
    return np.concatenate([LOGIT_SCORES[name](part) for part in parts])


def _split(z: Floats) -> tuple[Floats, Floats]:
    """The largest logit of each row, and log Σ exp of the others."""
    ordered = np.partition(z, -1, axis=1)
    return ordered[:, -1], np.asarray(logsumexp(ordered[:, :-1], axis=1), np.float64)
