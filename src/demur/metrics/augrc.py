"""AUGRC: the average risk of an undetected failure."""

from numpy.typing import ArrayLike

from demur.metrics.ranking import Floats, Steps, Value, before, ratio


def augrc(doubt: ArrayLike, wrong: ArrayLike, weights: Floats | None = None) -> Value:
    """Area under the share of all images that are accepted and wrong, over coverage: high (½) when errors are certain.

    Equals (1 − AUROC_f)·acc·(1 − acc) + ½(1 − acc)², so with one classifier it ranks signals as AUROC does, and across
    classifiers it also counts accuracy. Trapezoids over distinct scores; NaN for no rows.
    Traub et al. (2024), arXiv:2407.01032.
    """
    steps = Steps.of(doubt, wrong, weights)
    here = steps.accepted - before(steps.accepted)
    area = (here * (steps.wrong + before(steps.wrong))).sum(axis=1) / 2
    return steps.value(ratio(area, steps.total[:, 0] ** 2))
