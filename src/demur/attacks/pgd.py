"""Projected gradient descent."""

from dataclasses import dataclass
from typing import ClassVar

from demur.attacks.losses import check_eps, check_loss, check_steps
from demur.attacks.walk import Norm, Seen, Walk
from demur.errors import InputError
from demur.randomness import Keys
from demur.shapes import Images, Labels


@dataclass(frozen=True, kw_only=True)
class PGD:
    """Sign ascent on the loss, held inside an L∞ ball and the unit box, from a random start in it.

    Ball ∩ box is one interval per pixel, so the projection is a clamp. `eps` and `step` are fractions of the [0, 1]
    pixel range; `step` defaults to 2.5·eps/steps.

    Madry et al. (2018), arXiv:1706.06083.
    """

    norm: ClassVar[Norm] = "linf"
    sentence: ClassVar[str] = "every pixel changed by at most {eps}, searched in {steps} gradient steps"

    eps: float
    steps: int = 40
    step: float | None = None
    loss: str = "cross_entropy"

    def __post_init__(self) -> None:
        check_eps(self.eps)
        check_steps(self.steps)
        check_loss(self.loss)
        if self.step is not None and self.step <= 0:
            raise InputError(f"`step` must be positive; got {self.step:g}.")

    @property
    def stride(self) -> float:
        """How far a pixel moves in one step."""
        return 2.5 * self.eps / self.steps if self.step is None else self.step

    def start(self, x: Images, y: Labels, keys: Keys) -> Walk:
        low, high = (x - self.eps).clamp(min=0), (x + self.eps).clamp(max=1)
        return Walk(x=low + (high - low) * keys.uniform(x, "start"), y=y, low=low, high=high)

    def advance(self, walk: Walk, seen: Seen) -> Walk:
        uphill = self.stride * seen.gradient.sign()
        return walk.at((walk.x + uphill).clamp(walk.low, walk.high))
