"""How a training went, epoch by epoch: both losses, the accuracy and the F1 of each class, kept beside the weights."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from demur.attacks.gradient_sign import FGSM
from demur.attacks.pgd import PGD
from demur.data import Index, Source
from demur.files import write_atomically
from demur.training.held_out import answers, mean_loss, proven_accuracy, robust_accuracy
from demur.training.training_task import Rows

CURVE, FIGURE = "curves.csv", "curves.svg"
_ATTACKED = 512
PROVEN = "proven_accuracy"
_ROBUST = {"attacked_images": "attacked", **{name: name for name in ("robust_accuracy", "one_step_accuracy", PROVEN)}}
_STEPS = 10


@dataclass(frozen=True, kw_only=True)
class EpochRow:
    """What is known at the end of an epoch; None is undefined.

    Attributes:
        epoch: its number, from 1.
        train_loss: what the recipe makes smaller, in nats: the mean over the steps of the epoch, of random views.
        held_out: how many images were set aside to be looked at; the rest is of these, as they are, in evaluation mode.
        held_out_loss: mean cross-entropy, in nats.
        accuracy: share of right answers.
        f1: of each class, by its id; None of a class that no image is of and none was called.
        attacked: how many of the images set aside were attacked as the recipe says, in ten steps.
        robust_accuracy: share of these still answered rightly.
        one_step_accuracy: the same of one step along the gradient, as long as the recipe's `eps`.
        proven_accuracy: share of these answered rightly whatever is done within the recipe's `eps`, of recipes that
            learn from bounds.
    """

    epoch: int
    train_loss: float
    held_out: int = 0
    held_out_loss: float | None = None
    accuracy: float | None = None
    f1: tuple[float | None, ...] = ()
    attacked: int = 0
    robust_accuracy: float | None = None
    one_step_accuracy: float | None = None
    proven_accuracy: float | None = None

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "EpochRow":
        """The row that a checkpoint kept."""
        return cls(**{**content, "f1": tuple(content["f1"])})


class TrainLossAlone:
    """No images are set aside, and nothing is written."""

    classes: tuple[str, ...] = ()

    def row(self, epoch: int, train_loss: float, student: nn.Module) -> EpochRow:  # noqa: ARG002 - as the other's
        """The epoch by its training loss."""
        return EpochRow(epoch=epoch, train_loss=train_loss)

    def write(self, rows: Sequence[EpochRow]) -> None:
        """Nothing is written."""


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """Measures a network on rows set aside after each epoch, and keeps all epochs in `curves.csv` of a folder."""

    source: Source
    index: Index
    rows: Rows
    folder: Path
    eps: float | None = None
    proves: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, by id."""
        return tuple(self.source.classes)

    def row(self, epoch: int, train_loss: float, student: nn.Module) -> EpochRow:
        """The epoch that has just ended, with what the network says of the rows set aside."""
        if not len(self.rows):
            return EpochRow(epoch=epoch, train_loss=train_loss, f1=(None,) * len(self.classes))
        logits, labels = answers(student, self.source, self.index, self.rows), self.index.labels[self.rows]
        predicted, loss = logits.argmax(dim=1).numpy(), mean_loss(logits, labels)
        attacked = self.rows[:_ATTACKED] if self.eps is not None else self.rows[:0]
        attacks = (None, None) if self.eps is None else (PGD(eps=self.eps, steps=_STEPS), FGSM(eps=self.eps))
        many, one = (robust_accuracy(student, self.source, self.index, attacked, attack) for attack in attacks)
        return EpochRow(
            epoch=epoch,
            train_loss=train_loss,
            held_out=len(labels),
            held_out_loss=loss if math.isfinite(loss) else None,
            accuracy=float((predicted == labels).mean()),
            f1=tuple(_f1(predicted == k, labels == k) for k in range(len(self.classes))),
            attacked=len(attacked),
            robust_accuracy=many,
            one_step_accuracy=one,
            proven_accuracy=self._proven(student, attacked),
        )

    def _proven(self, student: nn.Module, rows: Rows) -> float | None:
        if not self.proves or self.eps is None:
            return None
        return proven_accuracy(student, self.source, self.index, rows, self.eps)

    def write(self, rows: Sequence[EpochRow]) -> None:
        """Write all epochs anew, atomically: a training that was killed repeats none and loses none.

        A figure of other epochs is removed.
        """
        file, content = self.folder / CURVE, _lines(rows, self.classes).encode()
        if not (file.exists() and file.read_bytes() == content):
            (self.folder / FIGURE).unlink(missing_ok=True)
            write_atomically(file, content)


def _f1(called: NDArray[np.bool_], true: NDArray[np.bool_]) -> float | None:
    """Harmonic mean of precision and recall: 2·hits / (called + true)."""
    sizes = int(called.sum()) + int(true.sum())
    return 2 * int((called & true).sum()) / sizes if sizes else None


def _lines(rows: Sequence[EpochRow], classes: Sequence[str]) -> str:
    """One line an epoch; an undefined number is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    robust = [*_ROBUST.items()] if any(row.attacked for row in rows) else []
    if all(row.proven_accuracy is None for row in rows):
        robust = [(column, field) for column, field in robust if column != PROVEN]
    head = ["epoch", "train_loss", "held_out_images", "held_out_loss", "accuracy"]
    writer.writerow([*head, *(column for column, _ in robust), *(f"f1 {k}" for k in classes)])
    for row in rows:
        cells = [getattr(row, field) for _, field in robust]
        writer.writerow([row.epoch, row.train_loss, row.held_out, row.held_out_loss, row.accuracy, *cells, *row.f1])
    return text.getvalue()
