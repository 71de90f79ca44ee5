"""The operator norm of a linear map that is known only by what it does."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

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
