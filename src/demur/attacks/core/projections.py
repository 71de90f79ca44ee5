"""The geometry of balls round rows of images, and how the steps of an attack shrink."""

import math

import torch
from torch import Tensor

from demur.attacks.core.attack_state import AttackState, Norm
from demur.shapes import Images, Scores

_TINY = 1e-12
_ORDER = {"linf": torch.inf, "l2": 2.0, "l1": 1.0}


def per_row(values: Tensor) -> Tensor:
    """One number per row, shaped to meet images (rows, 1, 1, 1)."""
    return values[:, None, None, None]


def length(rows: Tensor, norm: Norm) -> Scores:
    """Length of each row; the largest change of any pixel for perturbations that have no norm of their own."""
    return torch.linalg.vector_norm(rows.flatten(1), ord=_ORDER.get(norm, torch.inf), dim=1)


def unit(rows: Images) -> Images:
    """Rows of L2 length one; zero rows stay zero.

    However short they are: the gradient at a confident answer may be 1e-30 long, and its squares are no numbers.
    """
    rows = rows / per_row(length(rows, "linf").clamp(min=torch.finfo(rows.dtype).tiny))
    return rows / per_row(length(rows, "l2").clamp(min=_TINY))


def of_length_one(direction: Images, norm: Norm) -> Images:
    """Rows of length one in `norm`; zero rows stay zero."""
    if norm == "l2":
        return unit(direction)
    return direction / per_row(length(direction, norm).clamp(min=torch.finfo(direction.dtype).tiny))


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
        return x.clamp((origin - per_row(eps)).clamp(min=0), (origin + per_row(eps)).clamp(max=1))
    delta = x - origin
    shrink = (eps / length(delta, norm).clamp(min=_TINY)).clamp(max=1)
    return (origin + delta * per_row(shrink)).clamp(0, 1)


def to_hyperplane(x: Images, slope: Images, gap: Scores, norm: Norm) -> Images:
    """The smallest change δ of each row with `gap` + `slope`·δ = 0 that stays in the unit box; none without a slope.

    Where the box ends before the plane it leads to the corner nearest to it. Exact, in float64: for L1 the steepest
    pixels go to their walls one after the other, for L∞ and L2 all go at once, each until it is at its wall.

    Croce & Hein (2020), arXiv:1907.02044, section 3.
    """
    way = torch.where(per_row(gap > 0), -slope, slope).flatten(1).double()
    scale = way.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    steep, need, flat = way.abs() / scale, gap.abs().double()[:, None] / scale, x.flatten(1).double()
    room = torch.where(way > 0, 1 - flat, flat).masked_fill(way == 0, 0.0)
    size = _steepest_first(steep, room, need) if norm == "l1" else _together(steep, room, need, norm)
    return (way.sign() * size).view_as(x).to(x.dtype)


def _steepest_first(steep: Tensor, room: Tensor, need: Tensor) -> Tensor:
    """How far each pixel goes where the next one begins when the one before is at its wall."""
    order = steep.argsort(dim=1, descending=True, stable=True)
    pace, space = steep.gather(1, order), room.gather(1, order)
    own = pace * space
    rest = need - (own.cumsum(dim=1) - own)
    size = torch.minimum((rest / pace.clamp(min=torch.finfo(pace.dtype).tiny)).clamp(min=0), space)
    return torch.zeros_like(room).scatter(1, order, size)


def _together(steep: Tensor, room: Tensor, need: Tensor, norm: Norm) -> Tensor:
    """How far each pixel goes where all begin at once, at one pace for L∞ and as steep as they are for L2.

    What is gained by time t is a concave line with a bend where a pixel comes to its wall; the plane is met on one of
    its pieces.
    """
    pace = (steep > 0).to(steep) if norm == "linf" else steep
    wall = torch.where(pace > 0, room / pace.clamp(min=torch.finfo(pace.dtype).tiny), 0.0)
    ends, order = wall.sort(dim=1, stable=True)
    own, rate = (steep * room).gather(1, order), (steep * pace).gather(1, order)
    before, going = own.cumsum(dim=1) - own, rate.flip(1).cumsum(dim=1).flip(1)
    piece = (before + ends * going < need).sum(dim=1, keepdim=True).clamp(max=ends.shape[1] - 1)
    rest, slope = need - before.gather(1, piece), going.gather(1, piece).clamp(min=torch.finfo(pace.dtype).tiny)
    time = torch.minimum(rest / slope, ends[:, -1:])
    return torch.minimum(time * pace, room)


def random_point(state: AttackState, norm: Norm, draw: str, step: Tensor | int = 0) -> Images:
    """A point of each row's ball and the unit box at random: uniform for L∞; otherwise a direction and a radius."""
    if norm == "linf":
        low, high = (state.origin - per_row(state.eps)).clamp(min=0), (state.origin + per_row(state.eps)).clamp(max=1)
        return low + (high - low) * state.uniform(draw, state.x, step)
    radius = state.eps * state.uniform(f"{draw} radius", state.eps, step)
    return (state.origin + per_row(radius) * of_length_one(gaussian_noise(state, draw, step), norm)).clamp(0, 1)


def gaussian_noise(state: AttackState, draw: str, step: Tensor | int = 0) -> Images:
    """Standard normal numbers, by the inverse of their distribution at the middles of 2²⁴ equal shares."""
    return 2**0.5 * torch.erfinv(2 * state.uniform(draw, state.x, step) - (1 - 2**-24))


def cosine(begin: float, end: float, step: Tensor, steps: int) -> Scores:
    """Half a cosine from `begin` at step 0 towards `end`, which it would reach at step `steps`."""
    return end + (begin - end) * (1 + torch.cos(math.pi * step / steps)) / 2
