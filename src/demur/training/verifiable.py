"""Training for proofs: a network learns from the worst answers that bounds allow, so that the bounds come to hold."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from demur.attacks.core.hyperparameters import check_eps
from demur.classifier import BoundClassifier
from demur.errors import InputError
from demur.proofs import NoBoundError, bounds, network_bounds
from demur.training.backbone import evaluating
from demur.training.recipe import Lesson, OneCycle


@dataclass(frozen=True, kw_only=True)
class IBP(OneCycle):
    """κ·cross-entropy of the answers + (1 − κ)·cross-entropy of the worst logits that interval bounds allow within eps.

    The bounds are those of a proof, without its margins for rounding, through the network in evaluation mode: batch
    normalisation by its running statistics, which the images as they are have just moved, and dropout that drops
    nothing. The worst logits are differences to the label's, taken through the last linear layer. After a warm-up on
    images as they are, eps rises from 0 and κ falls from 1, both evenly.

    Gowal et al. (2018), arXiv:1810.12715. `eps` is a fraction of the [0, 1] pixel range.

    Attributes:
        eps: the size of L∞ that is to be proven, at the end of the ramp.
        kappa: weight of the images as they are, at the end of the ramp: less is proven more, and answered worse.
        warm_up: share of all steps before eps rises.
        ramp: share of all steps in which it rises.
    """

    learning_rate: float = 0.05
    shift: int = 0
    eps: float = 8 / 255
    kappa: float = 0.5
    warm_up: float = 0.1
    ramp: float = 0.5

    def check(self) -> None:
        """Refuse a size, a weight or a schedule that cannot be."""
        check_eps(self.eps)
        for name in ("kappa", "warm_up", "ramp"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"`{name}` must lie in [0, 1]; got {getattr(self, name):g}.")
        if self.settled > 1:
            raise InputError(
                f"`warm_up` and `ramp` are shares of all steps and must leave some of them; got {self.warm_up:g} and "
                f"{self.ramp:g}, together more than 1. Usual: 0.1 and 0.5."
            )

    @property
    def proves(self) -> bool:
        """What it is for: epochs are told apart by what is proven."""
        return True

    @property
    def settled(self) -> float:
        """The share of all steps from which on every step learns the same thing."""
        return self.warm_up + self.ramp

    def admit(self, classifier: BoundClassifier) -> None:
        """Refuse a network that no bound is known for, by what in it has none."""
        nothing = torch.zeros(1, *classifier.input_shape, device=classifier.device)
        try:
            bounds(classifier, nothing, torch.zeros(1, dtype=torch.int64, device=classifier.device), self.eps)
        except NoBoundError as error:
            raise InputError(
                f"the recipe ibp learns from bounds, and the network has what no bound is known for: {error}. Take "
                "layers that have one, as verifiable_cnn does, or a recipe that needs none, such as pgd_at."
            ) from error

    def risen(self, done: float) -> float:
        """How far the ramp has come, from 0 to 1, when a share of all steps is done."""
        if done <= self.warm_up:
            return 0.0
        return min(1.0, (done - self.warm_up) / self.ramp) if self.ramp else 1.0

    def loss(self, student: nn.Module, lesson: Lesson) -> Tensor:
        """What it is called after, in nats."""
        risen = self.risen(lesson.done)
        clean = self.surprise(student(lesson.images), lesson)
        if not risen:
            return clean
        kappa = 1 - risen * (1 - self.kappa)
        return kappa * clean + (1 - kappa) * self.surprise(_worst_logits(student, lesson, risen * self.eps), lesson)


def _worst_logits(student: nn.Module, lesson: Lesson, eps: float) -> Tensor:
    with evaluating(student), torch.autocast(lesson.images.device.type, enabled=False):
        return network_bounds(student, lesson.images, lesson.labels, eps, unit=0.0).worst_logits
