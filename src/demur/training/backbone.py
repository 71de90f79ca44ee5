"""The part of a network that came with weights: frozen in the first epochs of a training, then slower than its head."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from demur.adapters.starting_weights import Start
from demur.classifier import BoundClassifier
from demur.errors import InputError
from demur.training.recipe import Parameters, Recipe

SHARE = "share"
"""The key of an optimizer's group that says what part of the learning rate it gets."""


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """All of a network but its head.

    Attributes:
        head: names of the head's parameters.
        epochs: how many epochs the rest is frozen for: it gets no gradient and no step, and is in evaluation mode, so
            that batch normalisation keeps its statistics and nothing is dropped.
        rate: the rest's learning rate afterwards, in units of the head's.
        layer: the layer that is all of the head and gives the answers; empty where the head is another thing.
    """

    head: frozenset[str]
    epochs: int
    rate: float
    layer: str = ""

    @classmethod
    def of(cls, start: Start, classifier: BoundClassifier, recipe: Recipe) -> "Backbone | None":
        """What a recipe freezes of a network; None where it freezes nothing.

        Raises:
            InputError: there are no weights to keep, or nothing but a head.
        """
        frozen, rate = int(getattr(recipe, "frozen", 0)), float(getattr(recipe, "backbone_rate", 1.0))
        if not frozen:
            return None
        if not start.pretrained:
            raise InputError(
                f"`frozen={frozen}` keeps the weights that a network starts from, and {classifier.name} starts from "
                "chance. Name weights, such as zoo:resnet18@FILE or module:PKG.MOD:FACTORY@FILE, or leave frozen out."
            )
        head = start.head or _last_layer(classifier)
        if all(name in head for name, _ in start.network.named_parameters()):
            raise InputError(f"{classifier.name} has no layer beneath its head that could be frozen. Leave frozen out.")
        layer = classifier.penultimate.head_name
        alone = bool(layer) and head == frozenset(f"{layer}.{name}" for name, _ in _weights(classifier, layer))
        return cls(head=head, epochs=frozen, rate=rate, layer=layer if alone else "")

    def within(self, prefix: str) -> "Backbone":
        """The same of a network inside another."""
        layer = prefix + self.layer if self.layer else ""
        return replace(self, head=frozenset(prefix + name for name in self.head), layer=layer)

    def groups(self, student: nn.Module) -> Parameters:
        """The parameters in the order of an optimizer: the head's, then the others with their share of the rate."""
        named = [(name, value) for name, value in student.named_parameters() if value.requires_grad]
        head: dict[str, Any] = {"params": [value for name, value in named if name in self.head]}
        rest: dict[str, Any] = {"params": [value for name, value in named if name not in self.head], SHARE: self.rate}
        return [head, rest]

    def settle(self, student: nn.Module, optimizer_groups: list[dict[str, Any]], epoch: int) -> None:
        """Freeze or free a network at the beginning of an epoch, counted from 0."""
        frozen = epoch < self.epochs
        for group in optimizer_groups:
            if SHARE in group:
                for value in group["params"]:
                    value.requires_grad_(not frozen)
        student.train()
        for name, layer in student.named_modules():
            if frozen and not self._learns(name, student):
                layer.training = False

    def _learns(self, name: str, student: nn.Module) -> bool:
        """Whether a layer belongs to the head: it or what is around it has parameters, and all of them are the head's.

        A layer without parameters, such as dropout, goes with the nearest one around it that has some.
        """
        while name:
            inside = [each for each, _ in student.named_parameters() if each.startswith(f"{name}.")]
            if inside:
                return all(each in self.head for each in inside)
            name = name.rpartition(".")[0]
        return False


def paced(group: Mapping[str, Any], pace: Mapping[str, float]) -> dict[str, float]:
    """What a recipe sets before a step, for one group of parameters."""
    if SHARE in group and "lr" in pace:
        return {**pace, "lr": group[SHARE] * pace["lr"]}
    return dict(pace)


@contextmanager
def evaluating(student: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; then every layer is as it was, frozen ones too."""
    modes = [(layer, layer.training) for layer in student.modules()]
    student.eval()
    try:
        yield
    finally:
        for layer, mode in modes:
            layer.training = mode


def _weights(classifier: BoundClassifier, layer: str) -> list[tuple[str, nn.Parameter]]:
    return list(classifier.as_module().get_submodule(layer).named_parameters())


def _last_layer(classifier: BoundClassifier) -> frozenset[str]:
    """The parameters of the linear head, or else of the last layer that has a weight."""
    module = classifier.as_module()
    layers = [name for name, layer in module.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    last = classifier.penultimate.head_name or (layers[-1] if layers else "")
    return frozenset(name for name, _ in module.named_parameters() if name.rpartition(".")[0] == last)
