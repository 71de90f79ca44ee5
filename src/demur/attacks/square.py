"""Square attack, and the squares of pixels at random it is made of."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from demur.attacks.core.attack_state import AttackState, Needs, Norm, Output
from demur.attacks.core.harness import Stepwise
from demur.attacks.core.hyperparameters import check_eps, check_norm, check_share, check_steps
from demur.attacks.core.projections import length, per_row
from demur.shapes import Flags, Images


@dataclass(frozen=True)
class Windows:
    """A square in each row: its `side` (rows, 1, 1), and how far pixels lie `down` and `right` from its corner."""

    side: Tensor
    down: Tensor
    right: Tensor

    @classmethod
    def drawn(cls, state: AttackState, draw: str, side: Tensor, step: Tensor) -> "Windows":
        """Squares anywhere inside the image."""
        height, width = state.x.shape[2:]
        where = state.uniform(draw, state.x.new_empty(len(state), 2), step)
        top, left = ((where[:, axis] * (size - side + 1)).long() for axis, size in enumerate((height, width)))
        rows, columns = (torch.arange(size, device=side.device) for size in (height, width))
        return cls(side[:, None, None], rows[:, None] - top[:, None, None], columns - left[:, None, None])

    def inside(self) -> Flags:
        """The pixels of each square, (rows, 1, height, width)."""
        down = (self.down >= 0) & (self.down < self.side)
        return (down & (self.right >= 0) & (self.right < self.side))[:, None]


def signs(state: AttackState, draw: str, like: Tensor, step: Tensor | int = 0) -> Tensor:
    """−1 or 1 with equal chance, shaped as `like`."""
    return 2 * (state.uniform(draw, like, step) >= 0.5).to(like) - 1


def largest_odd(size: int) -> int:
    """The largest odd number up to `size`."""
    return size - 1 + size % 2


def bumps(state: AttackState, windows: Windows, step: Tensor) -> Images:
    """In each square a bump above a dent or beside one, (rows, 1, height, width), of length one; zero outside."""
    turned = state.uniform("turned", state.eps, step) >= 0.5
    sides, which = torch.unique(windows.side.flatten(), return_inverse=True)
    patterns = _patterns(sides).to(state.x)
    outside = patterns.shape[1] - 1
    down, right = (
        torch.where((place >= 0) & (place < windows.side), place, outside) for place in (windows.down, windows.right)
    )
    return patterns[(which + len(sides) * turned)[:, None, None], down, right][:, None]


def tiled(state: AttackState) -> Images:
    """Bumps and dents all over the image, about five across its shorter side, each turned and signed at random."""
    channels, height, width = state.x.shape[1:]
    side = max(min(height, width) // 5, 1)
    across = state.x.new_empty(len(state), channels, -(-height // side), -(-width // side))
    turned, sign = state.uniform("tiles turned", across[:, :1]) >= 0.5, signs(state, "tiles", across)
    turned, sign = (tile.repeat_interleave(side, 2).repeat_interleave(side, 3) for tile in (turned, sign))
    rows, columns = (torch.arange(size, device=state.x.device) % side for size in (height, width))
    upright, aside = _patterns(rows.new_tensor([side])).to(state.x)[:, rows[:, None], columns]
    crop = (..., slice(height), slice(width))
    return sign[crop] * torch.where(turned[crop], aside, upright)


def _patterns(sides: Tensor) -> Tensor:
    """A bump above a dent for each side, then each turned, in the corner of a field one longer than the longest.

    At t pixels from the middle of its half the bump is Σ 1/k², k from t + 1 to side/2 + 1. Both halves have the same
    energy, and the whole has length one.
    """
    longest = int(sides.max()) if len(sides) else 0
    side, place = sides[:, None, None], torch.arange(longest + 1, device=sides.device)
    down, right, half = place[:, None], place, side // 2
    upper = down < half
    middle = torch.where(upper, half // 2, half + (side - half) // 2)
    away = torch.minimum(torch.maximum((down - middle).abs(), (right - half).abs()), half + 1)
    sums = torch.cat([place.new_zeros(1).double(), (place + 1).double().pow(-2).cumsum(0)])
    found = (sums[half + 1] - sums[away]) * ((down < side) & (right < side))
    parts = [found * upper, found * ~upper]
    bump, dent = (part / part.square().sum(dim=(1, 2), keepdim=True).sqrt().clamp(min=1e-12) for part in parts)
    both = bump - dent
    both = both / both.square().sum(dim=(1, 2), keepdim=True).sqrt()
    return torch.cat([both, both.mT])


_HALVED = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Steps of 10,000 after which the share of changed pixels is halved."""

_TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class Square(Stepwise):
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

    def start(self, state: AttackState, restart: int) -> AttackState:  # noqa: ARG002 - never restarted
        delta = signs(state, "stripes", state.x[:, :, :1]) if self.norm == "linf" else tiled(state)
        x = _scaled(state, delta, self.norm)
        return state.at(x, best=x, highest=torch.full_like(state.eps, -torch.inf))

    def advance(self, state: AttackState, output: Output) -> AttackState:
        better = output.loss > state.highest
        best = torch.where(per_row(better), state.x, state.best)
        highest = torch.where(better, output.loss, state.highest)
        side = self._side(state, output.step)
        x = (
            _recoloured(state, best, side, output.step)
            if self.norm == "linf"
            else _moved(state, best, side, output.step)
        )
        return state.at(x, best=best, highest=highest)

    def _side(self, state: AttackState, step: Tensor) -> Tensor:
        """Side of each row's square, in pixels."""
        height, width = state.x.shape[2:]
        published = step * 10_000 // self.steps
        halvings = torch.bucketize(published, torch.tensor(_HALVED, device=step.device))
        side = (self.share * 0.5**halvings * height * width).sqrt().round().long()
        if self.norm == "linf":
            return side.clamp(1, min(height, width))
        return (side.clamp(min=3) // 2 * 2 + 1).clamp(max=largest_odd(min(height, width)))


def _scaled(state: AttackState, delta: Images, norm: Norm) -> Images:
    """The image plus a change scaled to the edge of the ball, clipped to the unit box."""
    size = state.eps / length(delta, norm).clamp(min=_TINY)
    return (state.origin + per_row(size) * delta).clamp(0, 1)


def _recoloured(state: AttackState, best: Images, side: Tensor, step: Tensor) -> Images:
    """L∞: one square in which every channel of the change has one value, +eps or −eps."""
    inside = Windows.drawn(state, "square", side, step).inside()
    colour = signs(state, "colour", state.x[:, :, :1, :1], step)
    return torch.where(inside, (state.origin + per_row(state.eps) * colour).clamp(0, 1), best)


def _moved(state: AttackState, best: Images, side: Tensor, step: Tensor) -> Images:
    """L2: a square takes a bump, and the energy of another square, which is emptied."""
    delta = best - state.origin
    here, there = (Windows.drawn(state, name, side, step) for name in ("square", "second square"))
    inside, emptied = here.inside(), there.inside()
    bump = bumps(state, here, step) * signs(state, "colour", state.x[:, :, :1, :1], step)
    kept = delta * inside
    bump = bump + kept / _energy(kept).sqrt().clamp(min=_TINY)
    left = (state.eps**2 - length(delta, "l2") ** 2).clamp(min=0) / delta.shape[1]
    energy = per_row(left) + _energy(delta * (inside | emptied))
    bump = bump * (energy / _energy(bump).clamp(min=_TINY)).sqrt()
    return _scaled(state, torch.where(inside, bump, delta * ~emptied), "l2")


def _energy(delta: Images) -> Tensor:
    """Sum of squares of each channel, (rows, channels, 1, 1)."""
    return delta.square().sum(dim=(2, 3), keepdim=True)
