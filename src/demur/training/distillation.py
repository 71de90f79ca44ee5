"""Defensive distillation: a student of the teacher's soft answers."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from demur.errors import InputError, RunError
from demur.training.recipe import Lesson, OneCycle
from demur.training.standard import Standard


@dataclass(frozen=True, kw_only=True)
class SoftStandard(OneCycle):
    """Cross-entropy of answers softened by a temperature: how the teacher of a distillation learns.

    Hinton et al. (2015), arXiv:1503.02531.
    """

    temperature: float = 20.0

    def check(self) -> None:
        """Refuse a temperature that cannot be."""
        check_temperature(self.temperature)

    def loss(self, student: nn.Module, lesson: Lesson) -> Tensor:
        """Cross-entropy of the labels, in nats."""
        return self.surprise(student(lesson.images) / self.temperature, lesson)


@dataclass(frozen=True, kw_only=True)
class Distilled(OneCycle):
    """A student that learns the answers of a teacher of its own architecture, both softened by a temperature.

    The teacher is trained first, as long and at the same temperature; the student answers at temperature 1. Its logits
    are then so far apart that the softmax has no gradient left: attacks through the softmax fail and the others do
    not, which is a mask and no robustness (Carlini and Wagner (2017), arXiv:1608.04644, §VIII).

    Papernot et al. (2016), arXiv:1511.04508.

    Attributes:
        temperature: what logits are divided by while learning; 20 to 70 is usual.
    """

    temperature: float = 20.0

    def check(self) -> None:
        """Refuse a temperature that cannot be."""
        check_temperature(self.temperature)

    @property
    def teacher(self) -> SoftStandard:
        """How the teacher learns."""
        return SoftStandard(temperature=self.temperature, **{name: getattr(self, name) for name in _SHARED})

    def loss(self, student: nn.Module, lesson: Lesson) -> Tensor:
        """Cross-entropy of the teacher's soft answers, in nats."""
        if lesson.teacher is None:
            raise RunError("a distilled student learns from a teacher, and there is none. Train it with demur train.")
        with torch.no_grad():
            soft = (lesson.teacher(lesson.images) / self.temperature).softmax(dim=1)
        answers = (student(lesson.images) / self.temperature).log_softmax(dim=1)
        return -(soft * answers).sum(dim=1).mean()


_SHARED = tuple(Standard.__dataclass_fields__)


def check_temperature(temperature: float) -> None:
    """Refuse what is no temperature."""
    if not 0 < temperature < float("inf"):
        raise InputError(f"`temperature` must be positive and finite; got {temperature}. Usual: 20 to 70.")
