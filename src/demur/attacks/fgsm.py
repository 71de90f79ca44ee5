"""Fast gradient sign method."""

from dataclasses import dataclass
from typing import ClassVar

from demur.attacks.losses import check_eps, check_loss
from demur.attacks.walk import Norm, Seen, Walk
from demur.randomness import Keys
from demur.shapes import Images, Labels


@dataclass(frozen=True, kw_only=True)
class FGSM:
    """One step of size eps along the sign of the gradient, clipped to the unit box.

    Goodfellow et al. (2015), arXiv:1412.6572.
    """

    norm: ClassVar[Norm] = "linf"
    steps: ClassVar[int] = 1
    sentence: ClassVar[str] = "every pixel changed by at most {eps} in one step along the gradient"

    eps: float
    loss: str = "cross_entropy"

    def __post_init__(self) -> None:
        check_eps(self.eps)
        check_loss(self.loss)

    def start(self, x: Images, y: Labels, keys: Keys) -> Walk:  # noqa: ARG002 - starts at the image itself
        return Walk(x=x, y=y)

    def advance(self, walk: Walk, seen: Seen) -> Walk:
        return walk.at((walk.x + self.eps * seen.gradient.sign()).clamp(0, 1))
