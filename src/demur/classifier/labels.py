"""Whether a model and a labelled set mean the same classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from demur.errors import DataError
from demur.metrics.binomial import wilson
from demur.metrics.estimate import Estimate

_COLLAPSED = 0.9  # share of one answer from which the input, not the order of classes, is to blame
_GAIN = 0.05  # accuracy that another order of classes must win before it counts as the right one
_PER_CLASS = 10  # labelled images per class below which such a gain may be luck


def check_labels(
    predicted: ArrayLike, labels: ArrayLike, classes: Sequence[str], *, trust_labels: bool = False
) -> None:
    """Refuse a labelled set that the model seems to name otherwise, and say the likely cause.

    Refused when the 95 % Wilson interval of accuracy reaches down to guessing, 1/classes, or when one fixed renaming of
    the classes would make the model clearly better (some classes swapped leave an accuracy above guessing).

    Raises:
        DataError: the labels do not fit; `trust_labels` overrides.
    """
    answers = _Answers(np.asarray(predicted), np.asarray(labels), tuple(classes))
    if trust_labels:
        return
    if answers.accuracy.low <= 1 / len(classes):
        rule = f"the model must do better than guessing, which is right on {1 / len(classes):.1%}"
    elif answers.renamed:
        rule = "the model must name the classes as the labels do"
    else:
        return
    accuracy = answers.accuracy
    raise DataError(
        f"{rule}; it is right on {accuracy.value:.1%} of {accuracy.n:,} labelled images (95 % interval "
        f"{accuracy.low:.1%} to {accuracy.high:.1%}). {answers.cause()} If the labels are right nevertheless, say so: "
        "--set model.trust_labels=true (in Python trust_labels=True)."
    )


@dataclass(frozen=True, eq=False)
class _Answers:
    """What a model answered beside the labels."""

    predicted: NDArray[np.int64]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    @property
    def accuracy(self) -> Estimate:
        return wilson(int((self.predicted == self.labels).sum()), len(self.labels))

    @property
    def renamed(self) -> bool:
        """Whether another order of the classes is clearly the right one."""
        if len(self.labels) < _PER_CLASS * len(self.classes):
            return False
        _, matched = self.best_renaming()
        halfway = (1 + 1 / len(self.classes)) / 2
        return matched >= halfway and matched >= self.accuracy.value + _GAIN

    def best_renaming(self) -> tuple[list[int], float]:
        """For every answered class the label it fits best, one to one, and the accuracy that would give."""
        from scipy.optimize import linear_sum_assignment

        confusion = np.zeros((len(self.classes), len(self.classes)), dtype=np.int64)
        np.add.at(confusion, (self.predicted, self.labels), 1)
        rows, meant = linear_sum_assignment(confusion, maximize=True)
        return [int(k) for k in meant], float(confusion[rows, meant].sum() / len(self.labels))

    def cause(self) -> str:
        """The likely reason, in words."""
        counts = np.bincount(self.predicted, minlength=len(self.classes))
        if counts.max() >= _COLLAPSED * len(self.predicted):
            answer, share = self.classes[int(counts.argmax())], counts.max() / len(self.predicted)
            return (
                f"It answers {answer!r} for {share:.0%} of them, so it probably sees other images than in training: "
                "check mean and std, pixel scale, colour order."
            )
        if self.renamed:
            return self._order()
        return (
            "No other order of classes repairs it, so the labels may belong to other images (a shuffled or sorted "
            "file), or the weights to another architecture or data set."
        )

    def _order(self) -> str:
        meant, matched = self.best_renaming()
        moved = [f"{self.classes[k]!r} is labelled {self.classes[m]!r}" for k, m in enumerate(meant) if k != m]
        more = f" and {len(moved) - 3} more" if len(moved) > 3 else ""
        return (
            f"With its classes renamed it would be right on {matched:.1%}, so model and labels order the classes "
            f"differently: what it calls {', '.join(moved[:3])}{more}. Give the model's classes in its own order."
        )
