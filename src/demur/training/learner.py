"""What a training moves: the network, its optimizer, the running mean of its weights and the best of its epochs."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from demur.training.backbone import Backbone, paced
from demur.training.recipe import Recipe

_EARLY = 10
"""Steps in which the running mean forgets faster, so that it does not begin with the weights of chance."""


@dataclass(eq=False)
class Learner:
    """A network in training.

    Attributes:
        student: the network that steps move.
        optimizer: what moves it.
        backbone: what of it is frozen at first; None where nothing is.
        share: of the old in the running mean of weights; 0 for none.
        average: the running mean after each step; None where there is none.
        best: the state of the best epoch so far; empty where the last is kept.
        score: how good that was.
    """

    student: nn.Module
    optimizer: torch.optim.Optimizer
    share: float
    average: nn.Module | None
    best: dict[str, Tensor]
    backbone: Backbone | None = None
    score: float = -1.0
    steps: int = 0

    @classmethod
    def of(cls, module: nn.Module, recipe: Recipe, backbone: Backbone | None = None) -> "Learner":
        """A copy of a network, and what a recipe moves it by."""
        student = channels_last(deepcopy(module)).train()
        share = float(getattr(recipe, "averaging", 0.0))
        average = deepcopy(student).requires_grad_(requires_grad=False) if share else None
        parameters = student.parameters() if backbone is None else backbone.groups(student)
        return cls(student, recipe.optimizer(parameters), share, average, {}, backbone)

    def freezes(self, epoch: int) -> bool:
        """Whether only the head learns in an epoch, counted from 0."""
        return self.backbone is not None and epoch < self.backbone.epochs

    def begin(self, epoch: int) -> None:
        """Make ready for an epoch, counted from 0: freeze what is not to learn in it."""
        if self.backbone is not None:
            self.backbone.settle(self.student, self.optimizer.param_groups, epoch)

    def step(self, loss: Tensor, pace: Mapping[str, float], average: Callable[[list[Tensor]], None]) -> None:
        """Move the network down the loss, and its average after it; `average` makes gradients one of all processes."""
        for group in self.optimizer.param_groups:
            group.update(paced(group, pace))
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        average([parameter.grad for parameter in _parameters(self.optimizer) if parameter.grad is not None])
        self.optimizer.step()
        self.steps += 1
        if self.average is not None:
            share = min(self.share, self.steps / (self.steps + _EARLY))
            _follow(self.average, self.student, share)

    @property
    def current(self) -> nn.Module:
        """The network as it would be kept now."""
        return self.student if self.average is None else self.average

    def note(self, score: float | None) -> None:
        """Keep this epoch in mind where it is the best so far."""
        if score is not None and score > self.score:
            self.score = score
            self.best = {name: value.detach().clone() for name, value in self.current.state_dict().items()}

    @property
    def state(self) -> dict[str, Tensor]:
        """What the training has come to."""
        found = self.best or self.current.state_dict()
        return {name: value.detach().contiguous() for name, value in found.items()}

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a training is continued from, by name."""
        parts = {"student": self.student.state_dict(), "optimizer": _optimizer_state(self.optimizer), "best": self.best}
        if self.average is not None:
            parts["average"] = self.average.state_dict()
        return {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}

    def refill(self, tensors: Mapping[str, Tensor], score: float, steps: int) -> None:
        """Put everything back."""
        self.student.load_state_dict(_under("student.", tensors))
        _refill(self.optimizer, _under("optimizer.", tensors))
        if self.average is not None:
            self.average.load_state_dict(_under("average.", tensors))
        self.best, self.score, self.steps = _under("best.", tensors), score, steps


def channels_last(module: nn.Module) -> nn.Module:
    """Up to twice as fast on processors."""
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's stubs


@torch.no_grad()
def _follow(average: nn.Module, student: nn.Module, share: float) -> None:
    """Move the floating-point state of one towards the other's; counters are copied."""
    for old, new in zip(average.state_dict().values(), student.state_dict().values(), strict=True):
        if old.is_floating_point():
            old.lerp_(new, 1 - share)
        else:
            old.copy_(new)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Its tensors by `number of the parameter.what`."""
    return {
        f"{number}.{what}": value
        for number, parameter in enumerate(_parameters(optimizer))
        for what, value in optimizer.state[parameter].items()
        if isinstance(value, Tensor)
    }


def _refill(optimizer: torch.optim.Optimizer, remembered: dict[str, Tensor]) -> None:
    parameters = _parameters(optimizer)
    for name, value in remembered.items():
        number, _, what = name.partition(".")
        parameter = parameters[int(number)]
        alike = torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value
        state: dict[str, Any] = optimizer.state[parameter]
        state[what] = alike.detach()
