"""How well each class is recognised."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.metrics import Estimate, proportion


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """One class among judged images.

    Attributes:
        name: the class.
        n: images of the class.
        precision: right among the images called so.
        recall: right among the images of the class.
        f1: harmonic mean of the two.
    """

    name: str
    n: int
    precision: Estimate
    recall: Estimate
    f1: Estimate


@dataclass(frozen=True, kw_only=True)
class Scores:
    """All classes: the share of right answers, and each class in the order of its id."""

    accuracy: Estimate
    classes: tuple[ClassScore, ...]


def scores(
    predicted: NDArray[np.int64], labels: NDArray[np.int64], names: Sequence[str], groups: NDArray[Any] | None = None
) -> Scores:
    """Scores with 95 % intervals, per image or, where `groups` is given, over whole groups."""
    each = (_score(name, predicted == k, labels == k, groups) for k, name in enumerate(names))
    return Scores(accuracy=proportion(predicted == labels, groups), classes=tuple(each))


def _score(name: str, called: NDArray[np.bool_], true: NDArray[np.bool_], groups: NDArray[Any] | None) -> ClassScore:
    """F1 is 2J / (1 + J) of the share J of hits among the images that are or were called so, and so is its interval.

    Jaccard (1912), "The distribution of the flora in the alpine zone", for J.
    """

    def share(among: NDArray[np.bool_]) -> Estimate:
        return proportion((called & true)[among], None if groups is None else groups[among])

    overlap = share(called | true)
    value, low, high = (_harmonic(edge) for edge in (overlap.value, overlap.low, overlap.high))
    f1 = replace(overlap, value=value, low=low, high=high)
    return ClassScore(name=name, n=int(true.sum()), precision=share(called), recall=share(true), f1=f1)


def _harmonic(overlap: float) -> float:
    return 2 * overlap / (1 + overlap)
