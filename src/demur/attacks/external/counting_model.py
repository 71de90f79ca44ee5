"""The model that an external attack is given, and what the attack did with it."""

from functools import partial

import torch
from torch import Tensor, nn

from demur.attacks.core.attack_state import Norm
from demur.attacks.core.best_points import inside_ball
from demur.attacks.core.objective import Objective
from demur.errors import ModelError
from demur.shapes import Images, Labels, Logits, Scores


class CountingModel(nn.Module):
    """A module that answers images in [0, 1] with logits, counts each row's passes and remembers successes.

    A row of a query stands for the original at its position where the query is as long as the batch, else for the
    nearest original. `forwards` and `backwards` (rows,) count passes; `fooled` (rows,) marks originals for which it was
    given a point of their ball and the unit box that succeeds.

    Args:
        objective: what counts as success, and the classifier that answers.
        x: the originals.
        y: their labels.
        eps: the radius (rows,) of each one's ball, infinite where there is none.
        norm: of the balls.
    """

    def __init__(self, objective: Objective, x: Images, y: Labels, eps: Scores, norm: Norm) -> None:
        super().__init__()
        self.inner = objective.classifier.as_module()  # libraries look for parameters to learn the device
        self.training = False
        self.forwards, self.backwards = (torch.zeros(len(x), dtype=torch.int32, device=x.device) for _ in range(2))
        self.fooled = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        self._objective, self._x, self._y, self._eps, self._norm = objective, x, y, eps, norm

    def __len__(self) -> int:
        return len(self._x)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return self._objective.classifier.input_shape

    @property
    def classes(self) -> int:
        """How many."""
        return len(self._objective.classifier.classes)

    def train(self, mode: bool = True) -> "CountingModel":  # noqa: FBT001, FBT002 - the signature of nn.Module
        """Stay in evaluation mode.

        Raises:
            ModelError: training mode is switched on.
        """
        if mode:
            raise _trained()
        return self

    def forward(self, images: Images) -> Logits:
        """Logits; differentiable where autograd is on."""
        if any(layer.training for layer in self.inner.modules()):
            raise _trained()
        images = images.to(self._x)
        whose = self._whose(images.detach())
        logits = self._objective.classifier.logits(images)
        self._count(self.forwards, whose)
        if logits.requires_grad:
            count = partial(self._backward, whose)
            logits.register_hook(count)  # type: ignore[no-untyped-call]  # torch gives it no types
        self._remember(images.detach(), logits.detach(), whose)
        return logits

    def _whose(self, images: Images) -> Tensor:
        if len(images) == len(self):
            return torch.arange(len(self), device=self._x.device)
        return torch.cdist(images.flatten(1), self._x.flatten(1)).argmin(dim=1)

    def _remember(self, images: Images, logits: Logits, whose: Tensor) -> None:
        allowed = inside_ball(images, self._x[whose], self._eps[whose], self._norm)
        y = self._y[whose]
        answer = self._objective.answer(images, y, logits)
        self.fooled[whose[allowed & self._objective.fooled(answer, y)]] = True

    def _backward(self, whose: Tensor, gradient: Tensor) -> None:  # noqa: ARG002 - what a hook is given
        self._count(self.backwards, whose)

    @staticmethod
    def _count(counter: Tensor, whose: Tensor) -> None:
        counter.index_add_(0, whose, torch.ones_like(whose, dtype=counter.dtype))


def _trained() -> ModelError:
    return ModelError(
        "a model under attack must stay in evaluation mode; the attack switched it to training mode, where it answers "
        "differently each time and drifts. Leave model.train() out of the attack."
    )
