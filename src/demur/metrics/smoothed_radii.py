"""How far a share of votes under normal noise is proven to stay, from the votes that were counted alone.

Cohen et al. (2019), arXiv:1902.02918; Clopper & Pearson (1934), "The use of confidence or fiducial limits illustrated
in the case of the binomial".
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtrc, betaincinv, ndtri

from demur.metrics.ranking import Floats

MAJORITY = 0.5


def vote_share_bound(counts: ArrayLike, n: int, alpha: float) -> Floats:
    """At least the share of all noise that votes so, where `counts` of `n` draws did: high when most of many do.

    One-sided, exact: above the true share with probability at most `alpha`; 0 where nothing was counted.
    """
    found = np.asarray(counts, np.float64)
    return np.where(found > 0, betaincinv(np.maximum(found, 1), n - found + 1, alpha), 0.0)


def smoothed_radius(counts: ArrayLike, n: int, *, sigma: float, alpha: float, share: float = MAJORITY) -> Floats:
    """Up to what change in L2 more than `share` of all noise votes so: σ (Φ⁻¹(lower bound) − Φ⁻¹(share)).

    For any set of answers the probability p(x) of an answer in it under noise has a Φ⁻¹(p(x)) that changes by at most
    ‖change‖ / σ (Neyman & Pearson 1933), so that for all changes below this the share is above `share`, but for a
    chance of `alpha` in the draws. Negative where not even the image itself is proven.

    >>> float(smoothed_radius(100_000, 100_000, sigma=1.0, alpha=0.001).round(4))
    3.8115
    """
    return np.asarray(sigma * (ndtri(vote_share_bound(counts, n, alpha)) - ndtri(share)), np.float64)


def tie_chance(first: ArrayLike, second: ArrayLike) -> Floats:
    """How often the lead of `first` votes over `second` would be as large if both were as common: high when close.

    The exact two-sided test of a fair coin. Hung & Fithian (2019), "Rank verification for exponential families", for
    why the two classes may be those with the most votes of the same draws.
    """
    most, least = np.maximum(first, second), np.minimum(first, second)
    one_sided = np.where(most > 0, bdtrc(np.maximum(most, 1) - 1, np.maximum(most + least, 1), 0.5), 1.0)
    return np.minimum(1.0, 2 * one_sided)
