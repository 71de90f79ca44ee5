"""Translations and rotations, the worst of several."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from demur.attacks.core.attack_state import AttackState, Needs, Norm, Output
from demur.attacks.core.harness import Stepwise
from demur.attacks.core.hyperparameters import check_steps
from demur.errors import InputError, unknown
from demur.shapes import Images, Scores

Padding = Literal["zeros", "reflection"]

_PADDINGS = ("zeros", "reflection")
_SMALLEST_GRID = 27


@dataclass(frozen=True, kw_only=True)
class Spatial(Stepwise):
    """The image moved and turned, `steps` + 1 times, until the model is fooled: what a camera at another angle does.

    Moves lie in ±`max_translation`, a share of height and width, turns about the centre in ±`max_rotation` degrees;
    pixels are interpolated, and what comes into view is black or mirrored. They are drawn at random, or with `grid`
    taken from one with its ends: n moves down by n to the right by m turns, n odd and as large as n³ ≤ `steps` + 1
    allows; what is left of the steps is drawn at random. There is no ball: every pixel may change.

    Engstrom et al. (2019), arXiv:1712.02779.
    """

    needs: ClassVar[Needs] = "loss"
    norm: ClassVar[Norm] = "none"
    eps: ClassVar[None] = None
    restarts: ClassVar[int] = 1
    loss: ClassVar[str] = "margin"

    steps: int = 10
    max_translation: float = 0.1
    max_rotation: float = 30.0
    grid: bool = False
    padding: Padding = "zeros"

    def __post_init__(self) -> None:
        check_steps(self.steps)
        _check_reach("max_translation", self.max_translation, 1, "a share of the side")
        _check_reach("max_rotation", self.max_rotation, 180, "degrees")
        if self.padding not in _PADDINGS:
            raise unknown("padding", self.padding, _PADDINGS)
        if self.grid and self.steps + 1 < _SMALLEST_GRID:
            raise InputError(
                f"`steps` of a grid must be at least {_SMALLEST_GRID - 1}, for three values of each; got {self.steps}."
            )

    @property
    def sentence(self) -> str:
        """What is done, for reports."""
        return (
            f"Moved by at most {self.max_translation * 100:g} % of the side and turned by at most "
            f"{self.max_rotation:g}°, {{steps}} times"
        )

    def start(self, state: AttackState, restart: int) -> AttackState:  # noqa: ARG002 - never restarted
        return state.at(self._moved(state, torch.zeros_like(state.y)))

    def advance(self, state: AttackState, output: Output) -> AttackState:
        return state.at(self._moved(state, output.step + 1))

    def _moved(self, state: AttackState, turn: Tensor) -> Images:
        share = 2 * state.uniform("move", state.x.new_empty(len(state), 3), turn) - 1
        if self.grid:
            grid = _grid(self.steps + 1).to(share)
            known = turn < len(grid)
            share = torch.where(known[:, None], grid[turn.clamp(max=len(grid) - 1)], share)
        down, right, angle = share.unbind(1)
        return transformed(
            state.origin,
            self.max_translation * down,
            self.max_translation * right,
            math.radians(self.max_rotation) * angle,
            self.padding,
        )


def transformed(x: Images, down: Scores, right: Scores, angle: Scores, padding: Padding = "zeros") -> Images:
    """Each image turned about its centre, then moved down and to the right.

    Args:
        x: images.
        down: a share of the height, per row.
        right: a share of the width, per row.
        angle: radians, anticlockwise as seen, per row.
        padding: what comes into view: black, or the image mirrored at its edge.
    """
    height, width = x.shape[2:]
    cos, sin = angle.cos(), angle.sin()
    # where each pixel comes from: the move undone, then the turn, in coordinates that run from −1 to 1 on both axes
    into = torch.stack([torch.stack([cos, -sin * height / width], 1), torch.stack([sin * width / height, cos], 1)], 1)
    back = into @ torch.stack([-2 * right, -2 * down], 1)[:, :, None]
    grid = (_centres(x) @ into.mT + back.mT).view(len(x), height, width, 2)
    return functional.grid_sample(x, grid, padding_mode=padding, align_corners=False).clamp(0, 1)


def _centres(x: Images) -> Tensor:
    """Where the pixels are, (height·width, 2): across and down, both from −1 to 1 at the edges of the image."""
    down, across = ((2 * torch.arange(size, device=x.device) + 1).to(x) / size - 1 for size in x.shape[2:])
    return torch.cartesian_prod(down, across).flip(1)


def _grid(points: int) -> Tensor:
    """Shares in [−1, 1] of the reach, (at most `points`, 3): down, right, angle."""
    moves = max(n for n in range(3, points + 1, 2) if n**3 <= points)
    turns = points // moves**2
    axes = [torch.linspace(-1, 1, count, dtype=torch.float64) for count in (moves, moves, turns)]
    return torch.cartesian_prod(*axes)


def _check_reach(name: str, value: float, most: float, unit: str) -> None:
    if not 0 <= value <= most:
        raise InputError(f"`{name}` must lie in [0, {most}], {unit}; got {value:g}.")
