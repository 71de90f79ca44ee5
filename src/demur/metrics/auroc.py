"""AUROC of failure: does doubt rank wrong answers above right ones?"""

from numpy.typing import ArrayLike

from demur.metrics.ranking import Floats, Steps, Value, before, ratio


def auroc(doubt: ArrayLike, wrong: ArrayLike, weights: Floats | None = None) -> Value:
    """The chance that a wrong answer is doubted more than a right one, ties counting half: high (1) when all are.

    ½ for a score that knows nothing; NaN without a wrong or without a right answer.
    Hanley & McNeil (1982), "The meaning and use of the area under a ROC curve".

    >>> auroc([0.1, 0.2, 0.3, 0.3], [False, False, False, True])
    0.8333333333333334
    """
    steps = Steps.of(doubt, wrong, weights)
    right = steps.accepted - steps.wrong
    below_or_half = (right + before(right)) / 2
    here = steps.wrong - before(steps.wrong)
    pairs = steps.total_wrong * (steps.total - steps.total_wrong)
    return steps.value(ratio((here * below_or_half).sum(axis=1), pairs[:, 0]))
