"""What an attack is aimed at: a classifier's answer."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch

from demur.attacks.losses import LOSSES
from demur.classifier import Classifier
from demur.shapes import Flags, Images, Labels, Logits, Scores

_CLEAR = 1e-5
"""Share of the largest logit that a wrong class must lead by; float32 sums in another order differ by about 1e-6."""


class Objective:
    """A classifier seen by an attack: a loss to climb, and what counts as success.

    Success is any class but the label, by more than the last bits of the logits: a point that wins by less may lose
    when it is looked at in another batch.
    """

    def __init__(self, classifier: Classifier, loss: str = "cross_entropy") -> None:
        self._classifier = classifier
        self._loss: Callable[[Logits, Labels], Scores] = LOSSES[loss]

    def frozen(self) -> AbstractContextManager[None]:
        """The classifier's weights take no gradient inside."""
        return self._classifier.frozen()

    def logits(self, x: Images) -> Logits:
        """Logits without gradients."""
        with torch.no_grad():
            return self._classifier.logits(x)

    def climb(self, x: Images, y: Labels) -> tuple[Logits, Images]:
        """Logits, and the gradient of the loss with respect to the images."""
        return self._classifier.loss_gradient(x, lambda logits: self._loss(logits, y))

    def loss(self, logits: Logits, y: Labels) -> Scores:
        """The loss of each row."""
        return self._loss(logits, y)

    def fooled(self, logits: Logits, y: Labels) -> Flags:
        """Rows whose answer is clearly wrong."""
        return LOSSES["margin"](logits, y) > _CLEAR * logits.abs().amax(dim=1)
