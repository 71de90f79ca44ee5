"""Mutants that still answer well."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from demur.errors import InputError
from demur.evidence import Evidence
from demur.shapes import Labels
from demur.signals.mutants import Mutation

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


def answers(mutation: Mutation, seen: Evidence, numbers: Sequence[int], rows: Tensor | None = None) -> Tensor:
    """What each mutant answers to some rows, or to all, (mutants, rows)."""
    mutants = [mutation.mutant(seen.filters, number) for number in numbers]
    found = torch.empty(len(numbers), len(seen), dtype=torch.int64)
    wanted = torch.arange(len(seen)) if rows is None else rows
    for which, piece, logits in seen.mutant_logits(mutants, wanted):
        found[which, piece] = logits.argmax(dim=1)
    return found[:, wanted]


def _try(
    mutation: Mutation, reference: Iterable[Evidence], labels: Labels, numbers: list[int], kept: float
) -> tuple[list[int], Tensor]:
    """Which mutants keep enough, and the answers they change; one far behind on the first images is asked no more."""
    rows, least, right = 0, 0.0, torch.zeros(len(numbers))
    changed: Tensor = torch.empty(len(numbers), 0, dtype=torch.bool)
    for seen in _few_first(reference):
        own, truth = seen.logits.argmax(dim=1), labels[rows : rows + len(seen)]
        given = answers(mutation, seen, numbers)
        changed, right = torch.cat([changed, given != own], dim=1), right + (given == truth).sum(dim=1)
        least += kept * float((own == truth).sum())
        first, last = rows == 0, rows + len(seen) == len(labels)
        rows += len(seen)
        if first or last:
            slack = 0 if last else rows**0.5  # two standard deviations of a fair coin
            going = right >= least - slack
            numbers = [number for number, goes in zip(numbers, going.tolist(), strict=True) if goes]
            changed, right = changed[going], right[going]
    return numbers, changed


def _few_first(reference: Iterable[Evidence]) -> Iterator[Evidence]:
    """The reference in its order, the first images apart."""
    for number, seen in enumerate(reference):
        if number or len(seen) <= _FEW:
            yield seen
        else:
            rows = torch.arange(len(seen))
            yield seen.rows(rows[:_FEW])
            yield seen.rows(rows[_FEW:])
