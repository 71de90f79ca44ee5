"""Square attack."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from demur.attacks.balls import length, spread
from demur.attacks.checks import check_eps, check_norm, check_share, check_steps
from demur.attacks.tiles import Windows, bumps, largest_odd, signs, tiled
from demur.attacks.walk import Needs, Norm, Seen, Walk
from demur.shapes import Images

_HALVED = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Steps of 10,000 after which the share of changed pixels is halved."""

_TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class Square:
    """Random search without gradients: a square of pixels is redrawn, and the change stays where the margin shrinks.

    A square covers a share of the image that begins at `share` and is halved nine times, at the published steps of
    10,000 rescaled to `steps`. L∞: each channel of the square goes to +eps or −eps; the start is vertical stripes. L2:
    two bumps of opposite sign, of a size that uses up what is left of the ball and what a second square gives back; the
    start is tiles of such bumps. Of use where gradients mislead: what only Square fools was robust in name alone.

    Andriushchenko et al. (2020), arXiv:1912.00049.
    """

    needs: ClassVar[Needs] = "loss"
    restarts: ClassVar[int] = 1
    loss: ClassVar[str] = "margin"
    sentence: ClassVar[str] = "{size}, searched without gradients in {steps} random squares"

    eps: float
    norm: Norm = "linf"
    steps: int = 1000
    share: float = 0.8

    def __post_init__(self) -> None:
        check_norm(self.norm)
        check_eps(self.eps, self.norm)
        check_steps(self.steps)
        check_share("share", self.share)

    def start(self, walk: Walk, restart: int) -> Walk:  # noqa: ARG002 - never restarted
        delta = signs(walk, "stripes", walk.x[:, :, :1]) if self.norm == "linf" else tiled(walk)
        x = _scaled(walk, delta, self.norm)
        return walk.at(x, best=x, highest=torch.full_like(walk.eps, -torch.inf))

    def advance(self, walk: Walk, seen: Seen) -> Walk:
        better = seen.loss > walk.highest
        best = torch.where(spread(better), walk.x, walk.best)
        highest = torch.where(better, seen.loss, walk.highest)
        side = self._side(walk, seen.step)
        x = _recoloured(walk, best, side, seen.step) if self.norm == "linf" else _moved(walk, best, side, seen.step)
        return walk.at(x, best=best, highest=highest)

    def _side(self, walk: Walk, step: Tensor) -> Tensor:
        """Side of each row's square, in pixels."""
        height, width = walk.x.shape[2:]
        published = step * 10_000 // self.steps
        halvings = torch.bucketize(published, torch.tensor(_HALVED, device=step.device))
        side = (self.share * 0.5**halvings * height * width).sqrt().round().long()
        if self.norm == "linf":
            return side.clamp(1, min(height, width))
        return (side.clamp(min=3) // 2 * 2 + 1).clamp(max=largest_odd(min(height, width)))


def _scaled(walk: Walk, delta: Images, norm: Norm) -> Images:
    """The image plus a change scaled to the edge of the ball, clipped to the unit box."""
    size = walk.eps / length(delta, norm).clamp(min=_TINY)
    return (walk.origin + spread(size) * delta).clamp(0, 1)


def _recoloured(walk: Walk, best: Images, side: Tensor, step: Tensor) -> Images:
    """L∞: one square in which every channel of the change has one value, +eps or −eps."""
    inside = Windows.drawn(walk, "square", side, step).inside()
    colour = signs(walk, "colour", walk.x[:, :, :1, :1], step)
    return torch.where(inside, (walk.origin + spread(walk.eps) * colour).clamp(0, 1), best)


def _moved(walk: Walk, best: Images, side: Tensor, step: Tensor) -> Images:
    """L2: a square takes a bump, and the energy of another square, which is emptied."""
    delta = best - walk.origin
    here, there = (Windows.drawn(walk, name, side, step) for name in ("square", "second square"))
    inside, emptied = here.inside(), there.inside()
    bump = bumps(walk, here, step) * signs(walk, "colour", walk.x[:, :, :1, :1], step)
    kept = delta * inside
    bump = bump + kept / _energy(kept).sqrt().clamp(min=_TINY)
    left = (walk.eps**2 - length(delta, "l2") ** 2).clamp(min=0) / delta.shape[1]
    energy = spread(left) + _energy(delta * (inside | emptied))
    bump = bump * (energy / _energy(bump).clamp(min=_TINY)).sqrt()
    return _scaled(walk, torch.where(inside, bump, delta * ~emptied), "l2")


def _energy(delta: Images) -> Tensor:
    """Sum of squares of each channel, (rows, channels, 1, 1)."""
    return delta.square().sum(dim=(2, 3), keepdim=True)
