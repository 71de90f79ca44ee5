"""What rise of the workload an alarm can find, and how soon: from the counts of the reference, without simulation."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from demur.alarms import betting_process as betting
from demur.alarms.workload_test import WorkloadTest
from demur.policies.policy import Floats

_FOREVER = 1_000_000
"""Images after which expected evidence that is not there never comes."""

_STEP = 30
_PATH = np.arange(0, 10 * betting.MEMORY, _STEP)
"""Images at which the adaptive bettor is followed while it learns of a change."""

_DELAY = 0.25
"""The part of a delay within which a later bet may begin and still be in time."""


@dataclass(frozen=True, kw_only=True)
class Detection:
    """How soon a rise of the share that goes to a person is found.

    Attributes:
        share: of images that go to a person after the change.
        quiet: images before it, at the share of the reference.
        images: after how many images the expected evidence reaches the threshold; None where it never does, though the
            evidence of some streams may.
    """

    share: float
    quiet: int
    images: int | None


def detection(test: WorkloadTest, share: float, *, quiet: int, before: float, alpha: float) -> Detection:
    """How soon a workload test that has seen nothing finds a share, after a quiet stretch at the share `before`.

    Along the expected path: each image adds its expected logarithm to each bet. Half of all streams need about as many
    images; see `benchmarks/guard_alarms.py`.
    """

    def found(images: int) -> bool:
        return bool(_log_evidence(test, share, images, quiet, before) >= -math.log(alpha))

    if not found(_FOREVER):
        return Detection(share=share, quiet=quiet, images=None)
    low, high = 0, _FOREVER
    while high - low > max(1, low // 200):
        middle = (low + high) // 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return Detection(share=share, quiet=quiet, images=high)


def smallest_share(test: WorkloadTest, images: int, *, quiet: int, before: float, alpha: float) -> float | None:
    """The smallest share that is found within so many images; None where not even 1 is."""

    def found(share: float) -> bool:
        return bool(_log_evidence(test, share, images, quiet, before) >= -math.log(alpha))

    if not found(1 - 1e-9):
        return None
    low, high = before, 1 - 1e-9
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high


def chance_at_most(test: WorkloadTest, share: float, *, alpha: float) -> float:
    """A bound on the probability that a share is ever found, however long the stream is; for this count of a reference.

    A reference may have had the share less the tolerance; then there is nothing to be found, and evidence is at most
    the e-value of the count times wealth, which reaches 1/alpha over it with at most its own inverse (Ville).
    """
    cells = np.flatnonzero(test.wealth.bets.nulls >= share)
    return float(min(1.0, alpha * test.factors[cells].min())) if len(cells) else 1.0


def share_beyond(test: WorkloadTest, *, alpha: float, chance: float = 0.5) -> float:
    """The largest share that is found with at most this probability, however long the stream is."""
    nulls = test.wealth.bets.nulls
    return float(max(nulls[alpha * test.factors <= chance], default=0.0))


def _log_evidence(test: WorkloadTest, share: float, images: int, quiet: int, before: float) -> float:
    """The logarithm of the evidence along the expected path, `images` after the change."""
    bets = test.wealth.bets
    q = bets.nulls[:, None]
    per_image = _growth(bets.fixed, q, share)
    parts = np.log(betting.PARTS)
    early = math.log(betting.FIXED * betting.AT_ONCE) + parts + quiet * _growth(bets.fixed, q, before)
    rest = math.log(betting.FIXED * (1 - betting.AT_ONCE))
    begun = betting.waiting(quiet) - betting.waiting(quiet + _DELAY * images)
    late = rest + math.log(max(begun, 1e-300)) + parts
    adaptive = math.log(1 - betting.FIXED) + _adaptive_growth(test, share, images, quiet, before)
    bank = np.full_like(q, rest + math.log(betting.waiting(quiet + images)))
    wealth = logsumexp(
        np.hstack([early + images * per_image, late + (1 - _DELAY / 2) * images * per_image, adaptive, bank]), axis=1
    )
    return float((np.log(test.factors) + wealth).min())


def _adaptive_growth(test: WorkloadTest, share: float, images: int, quiet: int, before: float) -> Floats:
    """The expected logarithm of the adaptive bettor, (nulls, 1), which takes time to see the change.

    Its estimate has the variance of 2·`MEMORY` images, which costs 1/(4·`MEMORY`) for every image it bets on.
    """
    bets, past = test.wealth.bets, math.exp(-quiet / betting.MEMORY)
    q, variance = bets.nulls[:, None], bets.variance[:, None]
    mass = 1 - past * np.exp(-_PATH / betting.MEMORY)
    fresh = 1 - np.exp(-_PATH / betting.MEMORY)
    excess = (fresh * (share - q) + (mass - fresh) * (before - q)) / (mass + betting.CAUTION)
    lean = np.clip(excess / variance, 0.0, bets.most[:, None])
    gains = np.where(lean > 0, _growth(lean, q, share) - 1 / (4 * betting.MEMORY), 0.0)
    steps = np.clip(images - _PATH, 0, _STEP)
    after = np.maximum(gains[:, -1:], 0.0) * max(0.0, images - _PATH[-1] - _STEP)
    return (gains * steps).sum(axis=1, keepdims=True) + after


def _growth(bets: Floats, q: Floats, share: float) -> Floats:
    """The expected logarithm that one image adds to each bet."""
    return share * np.log1p(bets * (1 - q)) + (1 - share) * np.log1p(-np.minimum(bets * q, 1 - 1e-12))
