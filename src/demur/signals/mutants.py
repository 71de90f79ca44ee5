"""Mutants: copies of a net in which a few filters are spoilt, each described by a seed and a number."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from demur.classifier.replay import Change
from demur.errors import InputError, unknown
from demur.randomness import Keys

Draw = Callable[[Tensor], Tensor]
"""Random numbers shaped as a tensor."""


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """How a net is spoilt: an operator, and the share gamma of its filters that it strikes.

    A filter is one output of a convolution; in a net without convolutions, one unit of a linear layer other than the
    head. Biases and batch normalisation stay as they are.

    - `nai`: the signs of a filter's weights are turned.
    - `gf`: each weight is drawn anew, normal with mean and standard deviation over the filters of its layer.
    - `ws`: the weights of a filter are shuffled.
    - `ns`: the chosen filters of a layer change places, each moving on by one; gamma is a share of every layer.

    Wang et al. (2019), arXiv:1812.05793; as in Wu et al. (2019), arXiv:1910.00387, where the share is one of filters.
    """

    operator: str
    gamma: float
    seed: int

    def __post_init__(self) -> None:
        if self.operator not in OPERATORS:
            raise unknown("operator", self.operator, OPERATORS)
        if not 0 < self.gamma < 1:
            raise InputError(
                f"label_change_rate: `gamma`, the share of filters that a mutant changes, must lie in (0, 1); "
                f"got {self.gamma}."
            )

    def mutant(self, layers: Mapping[str, Tensor], number: int) -> tuple[Change, ...]:
        """One mutant of a net with these weights (filters, …) by layer; the same number is the same mutant again."""
        keys = Keys.of(self.seed, [str(number)], f"mutant {self.operator} {self.gamma:g}")

        def uniform(like: Tensor, use: str) -> Tensor:
            return keys.uniform(like[None], use)[0]

        def normal(like: Tensor, use: str) -> Tensor:
            return keys.normal(like[None], use)[0]

        struck = self._everywhere(layers, uniform) if self.operator == "ns" else self._somewhere(layers, uniform)
        draw, spoil = normal if self.operator == "gf" else uniform, OPERATORS[self.operator]
        return tuple(
            Change(name, filters, spoil(layers[name], filters, partial(draw, use=name)))
            for name, filters in struck.items()
        )

    def _somewhere(self, layers: Mapping[str, Tensor], uniform: Callable[[Tensor, str], Tensor]) -> dict[str, Tensor]:
        """⌊gamma·F⌋ of all F filters, at least one."""
        owners = [name for name, weight in layers.items() for _ in range(len(weight))]
        within = torch.cat([torch.arange(len(weight)) for weight in layers.values()])
        count = max(1, int(self.gamma * len(owners)))
        chosen = uniform(torch.empty(len(owners)), "filters").argsort(stable=True)[:count].sort().values
        names = dict.fromkeys(owners[position] for position in chosen.tolist())
        return {
            name: torch.stack([within[position] for position in chosen.tolist() if owners[position] == name])
            for name in names
        }

    def _everywhere(self, layers: Mapping[str, Tensor], uniform: Callable[[Tensor, str], Tensor]) -> dict[str, Tensor]:
        """⌊gamma·F⌋ of the F filters of each layer, where that is two or more."""
        found = {}
        for name, weight in layers.items():
            count = int(self.gamma * len(weight))
            if count >= 2:
                order = uniform(torch.empty(len(weight)), f"filters of {name}")
                found[name] = order.argsort(stable=True)[:count]
        if not found:
            largest = max(len(weight) for weight in layers.values())
            raise InputError(
                f"operator 'ns' swaps filters, at least two in a layer; a share of {self.gamma:g} of {largest}, the "
                f"most filters a layer of this model has, is {self.gamma * largest:.2g}. Give a gamma of at least "
                f"{2 / largest:.2g}."
            )
        return found


def _inverted(weight: Tensor, filters: Tensor, _draw: Draw) -> Tensor:
    return -weight[filters]


def _redrawn(weight: Tensor, filters: Tensor, draw: Draw) -> Tensor:
    return weight.mean(dim=0) + weight.std(dim=0, correction=0) * draw(weight[filters])


def _shuffled(weight: Tensor, filters: Tensor, draw: Draw) -> Tensor:
    flat = weight[filters].flatten(start_dim=1)
    return flat.gather(1, draw(flat).argsort(dim=1, stable=True)).view_as(weight[filters])


def _moved_on(weight: Tensor, filters: Tensor, _draw: Draw) -> Tensor:
    return weight[filters.roll(1)]


OPERATORS: Mapping[str, Callable[[Tensor, Tensor, Draw], Tensor]] = {
    "gf": _redrawn,
    "nai": _inverted,
    "ns": _moved_on,
    "ws": _shuffled,
}


def applied(layers: Mapping[str, Tensor], changes: Sequence[Change]) -> dict[str, Tensor]:
    """The whole weights of the changed layers, by layer."""
    return {
        change.layer: layers[change.layer].index_copy(0, change.filters, change.weights.to(layers[change.layer]))
        for change in changes
    }
