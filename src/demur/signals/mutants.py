"""Mutants: copies of a net in which a few filters are spoilt, and which of them still answer well."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from demur.classifier.partial_forward import Change
from demur.errors import InputError, unknown
from demur.evidence import Evidence
from demur.randomness import Keys
from demur.shapes import Labels

Draw = Callable[[Tensor], Tensor]
"""Random numbers shaped as a tensor."""


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """How a net is spoilt: an operator, and the share gamma of its filters that it strikes.

    A filter is one output of a convolution; in a net without convolutions, and in a transformer, whose one convolution
    cuts patches, a unit of a linear layer other than the head as well. Biases and batch normalisation stay as they are.

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


_PATIENCE = 40
"""How many candidates are tried for each mutant before the operator is called too harsh."""
_FEW = 32
"""Images on which a candidate is tried first; most harsh ones need no more."""


@dataclass(frozen=True, eq=False)
class Accepted:
    """Numbers of mutants, the answers they change (mutants, rows), and how many candidates were tried."""

    numbers: tuple[int, ...]
    changed: Tensor
    tried: int


def accept(mutation: Mutation, reference: Iterable[Evidence], labels: Labels, *, count: int, kept: float) -> Accepted:
    """The first so many mutants that keep a share of the model's accuracy on the reference.

    Raises:
        InputError: too few do.
    """
    numbers: list[int] = []
    changed: list[Tensor] = []
    for begin in range(0, _PATIENCE * count, count):
        tried = _try(mutation, reference, labels, list(range(begin, begin + count)), kept)
        for number, row in zip(*tried, strict=True):
            numbers.append(number)
            changed.append(row)
            if len(numbers) == count:
                return Accepted(tuple(numbers), torch.stack(changed), number + 1)
    raise InputError(
        f"a mutant must keep {100 * kept:.3g} % of the model's accuracy; of {_PATIENCE * count} with operator "
        f"{mutation.operator!r} and gamma {mutation.gamma:g}, {len(numbers)} of the {count} wanted do. Take a smaller "
        "gamma or another operator."
    )


def answers_of(mutation: Mutation, evidence: Evidence, numbers: Sequence[int], rows: Tensor | None = None) -> Tensor:
    """What each mutant answers to some rows, or to all, (mutants, rows)."""
    mutants = [mutation.mutant(evidence.filters, number) for number in numbers]
    found = torch.empty(len(numbers), len(evidence), dtype=torch.int64)
    wanted = torch.arange(len(evidence)) if rows is None else rows
    for which, piece, logits in evidence.mutant_logits(mutants, wanted):
        found[which, piece] = logits.argmax(dim=1)
    return found[:, wanted]


def _try(
    mutation: Mutation, reference: Iterable[Evidence], labels: Labels, numbers: list[int], kept: float
) -> tuple[list[int], Tensor]:
    """Which mutants keep enough, and the answers they change; one far behind on the first images is run no further."""
    rows, least, right = 0, 0.0, torch.zeros(len(numbers))
    changed: Tensor = torch.empty(len(numbers), 0, dtype=torch.bool)
    for evidence in _few_first(reference):
        own, truth = evidence.logits.argmax(dim=1), labels[rows : rows + len(evidence)]
        given = answers_of(mutation, evidence, numbers)
        changed, right = torch.cat([changed, given != own], dim=1), right + (given == truth).sum(dim=1)
        least += kept * float((own == truth).sum())
        first, last = rows == 0, rows + len(evidence) == len(labels)
        rows += len(evidence)
        if first or last:
            slack = 0 if last else rows**0.5  # two standard deviations of a fair coin
            going = right >= least - slack
            numbers = [number for number, goes in zip(numbers, going.tolist(), strict=True) if goes]
            changed, right = changed[going], right[going]
    return numbers, changed


def _few_first(reference: Iterable[Evidence]) -> Iterator[Evidence]:
    """The reference in its order, the first images apart."""
    for number, evidence in enumerate(reference):
        if number or len(evidence) <= _FEW:
            yield evidence
        else:
            rows = torch.arange(len(evidence))
            yield evidence.rows(rows[:_FEW])
            yield evidence.rows(rows[_FEW:])
