"""Whether two models differ in how well their scores rank errors, on the same images."""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr
from scipy.stats import rankdata

from demur.metrics.ranking import Floats
from demur.metrics.units import unit_codes

Ranked: TypeAlias = tuple[ArrayLike, ArrayLike]
"""Scores of one model, higher = more uncertain, and whether its answers are wrong."""

_TINY = 1e-12
_NUMBERS = 2**19


def swap_test(
    first: Ranked,
    second: Ranked,
    metric: Callable[..., Any],
    groups: NDArray[Any] | None = None,
    *,
    draws: int = 1_000,
    seed: int = 0,
) -> float:
    """The chance of a difference of the metric as large, were it all one whose answer to an image is whose.

    Low where the models differ. Each unit's rank and error change sides at random, both models' together; two-sided,
    by the normal law with the spread of the draws, so that small chances can be told whatever their number.
    Venkatraman & Begg (1996), "A distribution-free procedure for comparing receiver operating characteristic curves
    from a paired experiment".

    Args:
        first: of one model.
        second: of the other, of the same images in the same order.
        metric: of scores, errors and weights (draws, rows), such as `augrc`.
        groups: the unit of independence of each image; None for the images themselves.
        draws: how often units change sides.
        seed: of the draws.
    """
    scores = np.concatenate([rankdata(scores) for scores, _ in (first, second)])
    errors = np.concatenate([np.asarray(wrong, bool) for _, wrong in (first, second)])
    rows = len(scores) // 2
    if not rows:
        return 1.0
    codes = np.arange(rows) if groups is None else unit_codes(groups)[1]
    units, draw = int(codes.max()) + 1, np.random.default_rng(seed)

    def difference(kept: Floats) -> Floats:
        own, other = np.hstack([kept, 1 - kept]), np.hstack([1 - kept, kept])
        return np.asarray(metric(scores, errors, other)) - np.asarray(metric(scores, errors, own))

    observed = float(difference(np.ones((1, rows)))[0])
    step = max(1, _NUMBERS // (2 * rows))
    parts = [min(step, draws - start) for start in range(0, draws, step)]
    found = np.concatenate([difference(draw.integers(0, 2, (part, units)).astype(float)[:, codes]) for part in parts])
    spread = math.sqrt(float(np.square(found).mean()))
    return 1.0 if spread < _TINY or math.isnan(observed) else float(2 * ndtr(-abs(observed) / spread))
