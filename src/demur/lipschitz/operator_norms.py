"""The linear layers of a model, runs of them as one linear map, and the operator norm of such a map."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor, nn

from demur.lipschitz.operation_constants import is_batch_norm, is_weighted
from demur.randomness import Keys

DENSE = 64
CHANCE = 1e-9
_LEAST, _MOST, _TOLERANCE = 100, 400, 1e-6


@dataclass(frozen=True)
class Norm:
    """How much longer a map makes a vector at most, in L2: high when some direction is stretched much.

    `value` is reached by a vector, so the norm is no smaller; it is no larger than `above`, with a probability of
    1 − 10⁻⁹ over the start of the search, for certain where all directions were tried. `iterations` counts
    applications of the map and its transpose; not `converged` means that `value` may still have been rising.
    """

    value: float
    above: float
    iterations: int
    converged: bool

    @classmethod
    def exactly(cls, value: float, iterations: int = 0) -> "Norm":
        """A norm that needs no margin."""
        return cls(value, value, iterations, converged=True)


def operator_norm(apply: Callable[[Tensor], Tensor], origin: Tensor) -> Norm:
    """The norm of the linear part of an affine map, given at `origin`, zeros in the shape that the map reads.

    Where there are at most 64 inputs or outputs, all of them are tried and the norm is that of a dense matrix.
    Elsewhere power iteration on AᵀA from a fixed random direction, whose iterates are all made use of: the largest
    value AᵀA takes on their span, by Lanczos's recurrence. Single iterates need thousands of rounds where the largest
    singular values lie close together, as those of convolutions do.

    Any such search comes from below. `above` is Kuczyński & Woźniakowski's bound on how far below it can be: after k
    rounds from a random direction in n dimensions the largest eigenvalue is missed by a share ε or more with a
    probability of at most 1.648·√n·exp(−√ε·(2k − 1)), whatever the map.

    Lanczos (1950); Kuczyński & Woźniakowski (1992), "Estimating the largest eigenvalue by the power and Lanczos
    algorithms with a random start".
    """
    with torch.enable_grad():
        x = origin.detach().requires_grad_()
        answer = apply(x)
    if not answer.requires_grad:
        return Norm.exactly(0.0)
    still = answer.detach()

    def forth(v: Tensor) -> Tensor:
        with torch.no_grad():
            return apply(v.view_as(origin)).flatten() - still.flatten()

    def back(w: Tensor) -> Tensor:
        found = torch.autograd.grad(answer, x, w.view_as(still), retain_graph=True, allow_unused=True)[0]
        return torch.zeros_like(origin).flatten() if found is None else found.flatten()

    if min(origin.numel(), still.numel()) <= DENSE:
        inputs = origin.numel() < still.numel()
        return _dense(forth if inputs else back, min(origin.numel(), still.numel()), origin)
    return _lanczos(lambda v: back(forth(v)), _start(origin))


def bound_margin(rounds: int, dimensions: int, chance: float = CHANCE) -> float:
    """By which factor the norm can exceed what a number of rounds found, but for a chance; infinite after too few."""
    share = (math.log(1.648 * math.sqrt(dimensions) / chance) / (2 * rounds - 1)) ** 2
    return 1 / math.sqrt(1 - share) if share < 1 else math.inf


def _dense(one_way: Callable[[Tensor], Tensor], count: int, like: Tensor) -> Norm:
    units = torch.eye(count, dtype=like.dtype, device=like.device)
    matrix = torch.stack([one_way(unit) for unit in units]).double()
    return Norm.exactly(float(torch.linalg.matrix_norm(matrix, ord=2)), count)


def _start(like: Tensor) -> Tensor:
    """A direction drawn once and for all, the same for every map of a shape."""
    drawn = Keys.of(0, ["direction"], "operator norm").normal(like.flatten()[None], "start")[0]
    return drawn / drawn.norm()


def _lanczos(gram: Callable[[Tensor], Tensor], v: Tensor) -> Norm:
    """The largest eigenvalue of a symmetric map on the span of what it makes of v, again and again.

    Without reorthogonalisation: rounding only repeats eigenvalues that have been found. Paige (1980), "Accuracy and
    effectiveness of the Lanczos algorithm for the symmetric eigenproblem".
    """
    dimensions, tiny = v.numel(), math.sqrt(torch.finfo(v.dtype).eps)
    tolerance = max(_TOLERANCE, tiny)
    diagonal: list[float] = []
    off_diagonal: list[float] = []
    before, top = torch.zeros_like(v), 0.0
    for rounds in range(1, _MOST + 1):
        w = gram(v)
        diagonal.append(float(v @ w))
        w = w - diagonal[-1] * v - (off_diagonal[-1] if off_diagonal else 0.0) * before
        length = float(w.norm())
        top, rest = _top(diagonal, off_diagonal, length)
        if length <= tiny * max(top, torch.finfo(v.dtype).tiny):
            return Norm.exactly(math.sqrt(top), rounds)
        if rounds >= _LEAST and rest <= tolerance * top:
            break
        off_diagonal.append(length)
        before, v = v, w / length
    value = math.sqrt(top)
    return Norm(value, value * bound_margin(rounds, dimensions), rounds, converged=rest <= tolerance * top)


def _top(diagonal: list[float], off_diagonal: list[float], length: float) -> tuple[float, float]:
    """The largest eigenvalue of the tridiagonal matrix, not below 0, and how far it is from one of the map."""
    last = len(diagonal) - 1
    values, vectors = eigh_tridiagonal(
        np.array(diagonal), np.array(off_diagonal), select="i", select_range=(last, last)
    )
    return max(float(values[0]), 0.0), length * abs(float(vectors[-1, 0]))


@dataclass(frozen=True)
class Step:
    """One affine operation, told from others by its name; `layers` are those of the model that it stands for."""

    name: str
    act: Callable[[Any], Any] = field(compare=False, repr=False)
    layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Piece:
    """Affine operations one after the other, from a tensor of one shape.

    Merged they stretch no vector by more than the product of their norms, and often by much less.
    """

    shape: tuple[int, ...]
    steps: tuple[Step, ...] = ()

    def __call__(self, x: Tensor) -> Any:
        """What the operations make of x."""
        value: Any = x
        for step in self.steps:
            value = step.act(value)
        return value

    def then(self, *steps: Step) -> "Piece":
        """The piece with more behind it."""
        return replace(self, steps=self.steps + steps)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers of the model inside, in their order, each once."""
        return tuple(dict.fromkeys(layer for step in self.steps for layer in step.layers))

    @property
    def name(self) -> str:
        """First and last of its layers."""
        return " … ".join(dict.fromkeys([self.layers[0], self.layers[-1]])) if self.layers else "nothing"

    def norm(self, like: Tensor) -> Norm:
        """Its operator norm, found in the precision of a tensor."""
        if not self.steps:
            return Norm.exactly(1.0)
        return operator_norm(self, torch.zeros(self.shape, dtype=like.dtype, device=like.device))


def adjacent(pieces: Sequence[Piece], join: Callable[[list[Any]], Any], how: str) -> Piece:
    """Pieces that read the same tensor, and what is made of their answers."""
    steps = [step.name for piece in pieces for step in (*piece.steps, Step("|", join))]
    layers = tuple(layer for piece in pieces for layer in piece.layers)
    act = Step(f"{how}({' '.join(steps)})", lambda x: join([piece(x) for piece in pieces]), layers)
    return Piece(pieces[0].shape, (act,))


def sum_of(pieces: Sequence[Piece]) -> Piece:
    """The sum of pieces that read the same tensor."""
    return pieces[0] if len(pieces) == 1 else adjacent(pieces, _sum, "sum")


def _sum(values: Iterable[Any]) -> Any:
    total, *others = values
    for other in others:
        total = total + other
    return total


@dataclass(frozen=True)
class LayerRow:
    """A layer as the model calls it first: its name, what it is, and its map from an input of true size."""

    name: str
    kind: str
    piece: Piece


def layer_rows(module: nn.Module, probe: Tensor) -> list[LayerRow]:
    """Convolutions and linear layers in the order of their first calls; batch normalisation of its own otherwise.

    Batch normalisation that reads just what a convolution or linear layer put out is folded into that layer's map. It
    needs no graph of the model; the hooks are gone afterwards.
    """
    return list(_rows_of_calls(_calls(module, probe)))


@dataclass(frozen=True, eq=False)
class _Call:
    name: str
    layer: nn.Module
    read: Tensor
    put: Tensor


def _calls(module: nn.Module, probe: Tensor) -> list[_Call]:
    calls: dict[str, _Call] = {}
    with ExitStack() as hooks, torch.no_grad():
        for name, layer in module.named_modules():
            if is_weighted(layer) or is_batch_norm(layer):
                hooks.enter_context(layer.register_forward_hook(_note(calls, name)))
        module(probe)
    return list(calls.values())


def _note(calls: dict[str, _Call], name: str) -> Callable[..., None]:
    def hook(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
            calls.setdefault(name, _Call(name, layer, inputs[0], output))

    return hook


def _rows_of_calls(calls: Sequence[_Call]) -> Iterator[LayerRow]:
    norms = {id(call.read): call for call in calls if is_batch_norm(call.layer)}
    weighted = [call for call in calls if is_weighted(call.layer)]
    taken = {norms[id(call.put)].name for call in weighted if id(call.put) in norms}
    for call in calls:
        if is_weighted(call.layer):
            behind = norms.get(id(call.put))
            kind = "linear" if isinstance(call.layer, nn.Linear) else "convolution"
            yield LayerRow(call.name or kind, kind, _piece(call, *([behind] if behind else [])))
        elif call.name not in taken:
            yield LayerRow(call.name or "batch norm", "batch norm", _piece(call))


def _piece(*calls: _Call) -> Piece:
    steps = [Step(call.name, call.layer, (call.name,)) for call in calls]
    return Piece((1, *calls[0].read.shape[1:]), tuple(steps))
