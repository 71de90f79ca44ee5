"""AURC, by one named convention."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import digamma

from demur.metrics.ranking import Floats, Steps, Value, before, ratio

CONVENTION = "mean selective risk over k = 1 … n accepted, ties averaged"


def aurc(doubt: ArrayLike, wrong: ArrayLike, weights: Floats | None = None) -> Value:
    """Average selective risk: high when the surest answers are wrong.

    Convention, "mean selective risk over k": (1/n)·Σₖ (errors among the k surest)/k for k = 1 … n, in expectation over
    random orders of equal scores. Others end the curve otherwise or divide by n − 1, 2 % apart at n = 200.
    NaN for no rows. Geifman, Uziel & El-Yaniv (2019), arXiv:1805.08206.
    """
    steps = Steps.of(doubt, wrong, weights)
    start, errors = before(steps.accepted), before(steps.wrong)
    here, wrong_here = steps.accepted - start, steps.wrong - errors
    # The k surest, when k falls inside a tie, hold errors + share·(k − start) mistakes on average; sum that / k over k.
    share = np.divide(wrong_here, here, out=np.zeros_like(here), where=here > 0)
    harmonic = _harmonic(steps.accepted)
    area = ((errors - share * start) * (harmonic - before(harmonic)) + wrong_here).sum(axis=1)
    return steps.value(ratio(area, steps.total[:, 0]))


def _harmonic(counts: Floats) -> Floats:
    """H_k = Σ 1/j for j ≤ k; fractional counts take the smooth extension."""
    whole = np.rint(counts)
    if not np.array_equal(whole, counts):
        return digamma(counts + 1) - digamma(1.0)
    table = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, 1 + int(whole.max(initial=0))))])
    return table[whole.astype(np.intp)]
