"""The geometry of balls round rows of images: lengths, steepest directions, projections, points at random."""

import torch
from torch import Tensor

from demur.attacks.walk import Norm, Walk
from demur.shapes import Images, Scores

_TINY = 1e-12
_ORDER = {"linf": torch.inf, "l2": 2.0, "l1": 1.0}


def spread(values: Tensor) -> Tensor:
    """One number per row, shaped to meet images (rows, 1, 1, 1)."""
    return values[:, None, None, None]


def length(rows: Tensor, norm: Norm) -> Scores:
    """Length of each row; the largest change of any pixel for perturbations that have no norm of their own."""
    return torch.linalg.vector_norm(rows.flatten(1), ord=_ORDER.get(norm, torch.inf), dim=1)


def unit(rows: Images) -> Images:
    """Rows of L2 length one; zero rows stay zero.

    However short they are: the gradient at a confident answer may be 1e-30 long, and its squares are no numbers.
    """
    rows = rows / spread(length(rows, "linf").clamp(min=torch.finfo(rows.dtype).tiny))
    return rows / spread(length(rows, "l2").clamp(min=_TINY))


def steepest(gradient: Images, norm: Norm, x: Images | None = None) -> Images:
    """The direction of length one in `norm` along which a linear function rises fastest.

    Of the directions that lead from `x` into the unit box, if it is given: for L2, what points out of it is clipped and
    takes its share of the length with it. For L∞ the clipping takes nothing from the other pixels.
    """
    if norm == "linf":
        return gradient.sign()
    return unit(gradient if x is None else inward(gradient, x))


def inward(gradient: Tensor, x: Images) -> Tensor:
    """What is left of a gradient where the unit box ends: nothing leads below 0 or above 1."""
    out = ((x <= 0) & (gradient < 0)) | ((x >= 1) & (gradient > 0))
    return gradient.masked_fill(out, 0.0)


def project(x: Images, origin: Images, eps: Scores, norm: Norm) -> Images:
    """Into the ball of radius `eps` round `origin`, then the unit box.

    Clipping to the box never leads out of a ball round a point of the box.
    """
    if norm == "linf":
        return x.clamp((origin - spread(eps)).clamp(min=0), (origin + spread(eps)).clamp(max=1))
    delta = x - origin
    shrink = (eps / length(delta, norm).clamp(min=_TINY)).clamp(max=1)
    return (origin + delta * spread(shrink)).clamp(0, 1)


def anywhere(walk: Walk, norm: Norm, draw: str, step: Tensor | int = 0) -> Images:
    """A point of each row's ball and the unit box at random: uniform for L∞; for L2 a direction and a radius."""
    if norm == "linf":
        low, high = (walk.origin - spread(walk.eps)).clamp(min=0), (walk.origin + spread(walk.eps)).clamp(max=1)
        return low + (high - low) * walk.uniform(draw, walk.x, step)
    radius = walk.eps * walk.uniform(f"{draw} radius", walk.eps, step)
    return (walk.origin + spread(radius) * unit(gaussian(walk, draw, step))).clamp(0, 1)


def gaussian(walk: Walk, draw: str, step: Tensor | int = 0) -> Images:
    """Standard normal numbers, by the inverse of their distribution at the middles of 2²⁴ equal shares."""
    return 2**0.5 * torch.erfinv(2 * walk.uniform(draw, walk.x, step) - (1 - 2**-24))
