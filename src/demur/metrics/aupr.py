"""AUPR of failure: average precision with the wrong answers as positives."""

from numpy.typing import ArrayLike

from demur.metrics.ranking import Floats, Steps, Value, before, ratio


def aupr(doubt: ArrayLike, wrong: ArrayLike, weights: Floats | None = None) -> Value:
    """Average precision of flagging the most doubted first, positives = wrong: high (1) when errors come first.

    Σ (recallₖ − recallₖ₋₁)·precisionₖ over distinct scores, equal scores flagged together. A random score gives the
    error rate, so it says nothing across models of different accuracy; NaN without a wrong answer.
    Davis & Goadrich (2006), "The relationship between precision-recall and ROC curves".
    """
    steps = Steps.of(doubt, wrong, weights)
    here = steps.wrong - before(steps.wrong)
    caught = steps.total_wrong - before(steps.wrong)
    flagged = steps.total - before(steps.accepted)
    precision = caught / flagged.clip(min=1e-300)
    return steps.value(ratio((here * precision).sum(axis=1), steps.total_wrong[:, 0]))
