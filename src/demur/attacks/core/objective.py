"""What an attack is aimed at: a classifier's answer."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeAlias

import torch
from torch import Tensor

from demur.attacks.core.losses import LOSSES, TARGETED, Loss, margin
from demur.classifier import Classifier
from demur.errors import InputError
from demur.shapes import Flags, Images, Labels, Logits, Scores

_CLEAR = 1e-5
"""Share of the largest logit that a wrong class must lead by; float32 sums in another order differ by about 1e-6."""

_NEAR = 1e-4
"""Share of the largest logit below which a lead is looked at again in float64: a hundred times float32's own error."""

_EXACT = 64
"""Rows per pass in float64."""

Success: TypeAlias = Callable[[Logits, Labels], Flags]


class Objective:
    """A classifier output by an attack: a loss to climb, and what counts as success.

    Success is any class but the label, or the target class where there is one, by more than the last bits of the
    logits: a point that wins by less may lose when it is looked at in another batch.

    Args:
        classifier: the model.
        loss: a name in `LOSSES`, or any function (logits, labels) → one value per row, higher = nearer to success.
        success: any function (logits, labels) → one flag per row, such as confidently wrong; by default, wrong.
    """

    def __init__(
        self, classifier: Classifier, loss: str | Loss = "cross_entropy", success: Success | None = None
    ) -> None:
        self._classifier = classifier
        self._named = loss if isinstance(loss, str) else None
        self._loss: Loss = LOSSES[loss] if isinstance(loss, str) else loss
        self._success = success

    @property
    def classifier(self) -> Classifier:
        """The model."""
        return self._classifier

    def climbing(self, loss: str) -> "Objective":
        """The same aim with another loss to climb."""
        return Objective(self._classifier, loss, self._success)

    def frozen(self) -> AbstractContextManager[None]:
        """The classifier's weights take no gradient inside."""
        return self._classifier.frozen()

    def logits(self, x: Images) -> Logits:
        """Logits without gradients."""
        with torch.no_grad():
            return self._classifier.logits(x)

    def exact(self, x: Images) -> Logits:
        """Logits of the same model in float64, without gradients."""
        with torch.no_grad():
            return torch.cat([self._classifier.double.logits(part.double()) for part in torch.split(x, _EXACT)])

    def climb(self, x: Images, y: Labels, target: Labels | None = None) -> tuple[Logits, Images]:
        """Logits, and the gradient of the loss with respect to the images."""
        return self._classifier.loss_gradient(x, lambda logits: self.loss(logits, y, target))

    def jacobian(self, x: Images, y: Labels, classes: Tensor) -> tuple[Logits, Tensor]:
        """Logits, and the gradient (rows, classes, channels, height, width) of each class's logit minus the label's."""
        right = y[:, None].expand_as(classes)
        return self._classifier.loss_gradients(x, lambda logits: logits.gather(1, classes) - logits.gather(1, right))

    def loss(self, logits: Logits, y: Labels, target: Labels | None = None) -> Scores:
        """The loss of each row; NaN where the target is −1, which is none."""
        if target is None:
            return self._loss(logits, y)
        if self._named is None:
            raise InputError("a loss of one's own takes logits and labels, so it has no target. Name one of demur's.")
        return TARGETED[self._named](logits, y, target.clamp(min=0)).masked_fill(target < 0, torch.nan)

    def lead(self, logits: Logits, y: Labels, goal: Labels | None = None) -> Scores:
        """By how much success is reached, as a share of the largest logit; negative where it is not."""
        ahead = margin(logits, y) if goal is None else self._towards(logits, goal)
        return ahead / logits.abs().amax(dim=1).clamp(min=torch.finfo(logits.dtype).tiny)

    def excess(self, logits: Logits, y: Labels, goal: Labels | None = None) -> Scores:
        """By how much the lead passes what counts as a clear one, in logits: it changes sign where the answer flips.

        Unlike the lead it is piecewise linear where the model is, so that a line through two points finds the flip.
        """
        return (self.lead(logits, y, goal) - _CLEAR) * logits.abs().amax(dim=1)

    def _towards(self, logits: Logits, goal: Labels) -> Scores:
        return (-margin(logits, goal.clamp(min=0))).masked_fill(goal < 0, -torch.inf)

    def fooled(self, logits: Logits, y: Labels, goal: Labels | None = None) -> Flags:
        """Rows that clearly succeed."""
        return self._judged(logits, y, self.lead(logits, y, goal) > _CLEAR)

    def near(self, logits: Logits, y: Labels, goal: Labels | None = None) -> Flags:
        """Rows that succeed by so little that float32 may be wrong."""
        return self.fooled(logits, y, goal) & (self.lead(logits, y, goal) < _NEAR)

    def confirmed(self, x: Images, y: Labels, goal: Labels | None = None) -> Flags:
        """Rows that succeed in float64 too."""
        logits = self.exact(x)
        return self._judged(logits, y, self.lead(logits, y, goal) > 0)

    def _judged(self, logits: Logits, y: Labels, ahead: Flags) -> Flags:
        return ahead if self._success is None else self._success(logits, y) & logits.isfinite().all(dim=1)
