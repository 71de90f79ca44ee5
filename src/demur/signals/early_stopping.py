"""When an image has been run through enough mutants."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from demur.errors import InputError
from demur.shapes import Flags, Scores

RULES = ("predictive", "sprt", "never")
_RISK = 0.01
"""The chance at which the predictive rule still stops although all mutants might decide otherwise."""
_ZONE, _ERROR = 0.1, 0.05
"""Of the sequential test: half the width of its zone of indifference, as a share of the threshold, and both errors."""
_FIRST, _STEP = 10, 5
"""Mutants before the rule is first applied, and between two times."""

Counts = NDArray[np.int64]
Prior = tuple[float, float]


@dataclass(frozen=True)
class Stopping:
    """Stop once the decision "at least `limit` of all `mutants` change the answer" is as good as made.

    How often mutants change an answer differs from image to image as a beta law with a and b, one pair for `sure`
    images, whose msp is at most `cut`, and one for the others. With c changes among n mutants those still to come
    follow a beta-binomial law with a + c and b + n − c, and the share to be expected of all mutants is its mean.

    - `predictive`: stop when the probability that all mutants would decide otherwise than expected is below 1 %.
    - `sprt`: Wald's test of τ + τ/10 against τ − τ/10, errors of 5 %, τ = limit/mutants; what it leaves open is
      decided by all mutants.
    - `never`: run all.

    Wald (1945), "Sequential tests of statistical hypotheses"; for mutants Wang et al. (2019), arXiv:1812.05793.
    """

    rule: str
    mutants: int
    limit: int = 0
    cut: float = 0.0
    sure: Prior = (1.0, 1.0)
    unsure: Prior = (1.0, 1.0)

    @classmethod
    def learned(cls, rule: str, changed: Tensor, uncertainty: Scores, wrong: Flags) -> "Stopping":
        """The rule for images like these.

        Args:
            rule: one of `RULES`.
            changed: whether each mutant changes the answer, (mutants, rows).
            uncertainty: msp, (rows,).
            wrong: whether the answer is wrong, (rows,).
        """
        mutants, counts = len(changed), changed.sum(dim=0)
        if rule == "never":
            return cls(rule, mutants)
        cut = uncertainty.median()
        return cls(
            rule,
            mutants,
            limit=threshold(counts.numpy(), wrong.numpy(), mutants),
            cut=float(cut),
            sure=prior(counts[uncertainty <= cut].numpy(), mutants),
            unsure=prior(counts[uncertainty > cut].numpy(), mutants),
        )

    def expected(self, changes: Tensor, mutants: Tensor, uncertainty: Scores) -> Scores:
        """The share of all mutants that is to be expected to change the answer, float64."""
        a, b = torch.where(
            uncertainty <= self.cut, *(torch.tensor(each).double()[:, None] for each in (self.sure, self.unsure))
        )
        rate = (a + changes) / (a + b + mutants)
        return (changes + (self.mutants - mutants) * rate) / self.mutants

    def enough(self, changes: Tensor, mutants: Tensor, uncertainty: Scores) -> Flags:
        """Whether a row needs no more, given through how many mutants it was run and how many changed its answer."""
        sure, unsure = _table(self, self.sure), _table(self, self.unsure)
        return torch.where(uncertainty <= self.cut, sure[mutants, changes], unsure[mutants, changes])

    def blocks(self, numbers: Sequence[int]) -> Iterator[Sequence[int]]:
        """Mutants in blocks, after each of which the rule is applied; the first is large enough to contradict msp."""
        ends = range(_FIRST, len(numbers), _STEP) if self.rule != "never" else ()
        for begin, end in pairwise([0, *ends, len(numbers)]):
            yield numbers[begin:end]


@lru_cache(maxsize=16)
def _table(of: Stopping, prior: Prior) -> Tensor:
    """Whether to stop after n mutants (first axis) of which c (second axis) changed the answer."""
    n, c = np.ogrid[: of.mutants + 1, : of.mutants + 1]
    if of.rule == "predictive":
        enough = _settled(of, prior, n, np.minimum(c, n))
    elif of.rule == "sprt":
        enough = _decided(of, n, c)
    else:
        enough = np.zeros((of.mutants + 1, of.mutants + 1), dtype=bool)
    enough[0], enough[-1] = False, True
    return torch.from_numpy(enough)


def _settled(of: Stopping, prior: Prior, n: Counts, c: Counts) -> NDArray[np.bool_]:
    from scipy.stats import betabinom

    a, b = prior
    over = betabinom.sf(of.limit - c - 1, of.mutants - n, a + c, b + n - c)
    return np.minimum(over, 1 - over) < _RISK


def _decided(of: Stopping, n: Counts, c: Counts) -> NDArray[np.bool_]:
    middle = of.limit / of.mutants
    high, low = min(middle * (1 + _ZONE), 1 - 1e-9), middle * (1 - _ZONE)
    ratio = c * math.log(high / low) + (n - c) * math.log((1 - high) / (1 - low))
    return np.abs(ratio) >= math.log((1 - _ERROR) / _ERROR)


def open_share(of: Stopping, changes: Tensor, mutants: Tensor) -> float:
    """The share of rows on which the sequential test was still open when the mutants ran out."""
    decided = _decided(of, mutants.numpy(), changes.numpy())
    return float(((mutants == of.mutants).numpy() & ~decided).mean())


def threshold(counts: Counts, wrong: NDArray[np.bool_], mutants: int) -> int:
    """The number of changed answers from which on an answer counts as wrong: largest hit rate minus false alarm rate.

    Youden (1950), "Index for rating diagnostic tests".
    """
    if wrong.all() or not wrong.any():
        raise InputError(
            f"a threshold is set between right and wrong answers; of {len(wrong)} reference images "
            f"{int(wrong.sum())} are answered wrongly. Give more reference images, or stopping='never'."
        )
    limits = np.arange(1, mutants + 1)
    hits = (counts[wrong, None] >= limits).mean(axis=0)
    alarms = (counts[~wrong, None] >= limits).mean(axis=0)
    return int(limits[np.argmax(hits - alarms)])


def prior(counts: Counts, mutants: int) -> Prior:
    """The a and b of the beta-binomial law under which these numbers of changed answers are likeliest, e⁻⁵ to e⁵ each.

    Skellam (1948), "A probability distribution derived from the binomial distribution".
    """
    from scipy.optimize import minimize
    from scipy.stats import betabinom

    values, times = np.unique(counts, return_counts=True)

    def unlikely(logs: NDArray[np.float64]) -> float:
        return -float(times @ betabinom.logpmf(values, mutants, *np.exp(logs)))

    best = minimize(unlikely, x0=(-1.0, 1.0), bounds=((-5, 5), (-5, 5)), method="L-BFGS-B")
    a, b = np.exp(best.x)
    return float(a), float(b)
