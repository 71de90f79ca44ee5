"""The gradient averaged over noisy copies of the image."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from demur.attribution.target_layers import Sign, channel_maximum, check_sign, gradient
from demur.classifier import BoundClassifier
from demur.errors import InputError
from demur.randomness import Keys
from demur.shapes import Heat, Images, Labels


@dataclass(frozen=True, kw_only=True)
class SmoothGrad:
    """|mean of ∂z/∂x over noisy copies|, the largest over the channels: high where noise leaves the slope standing.

    The mean is over `n` copies with normal noise of standard deviation `sigma`, a share of the pixel range; what leaves
    [0, 1] is not cut off, and signs cancel before the size is taken. On the grid of the image; in logits per pixel
    range.
    Smilkov et al. (2017), arXiv:1706.03825.
    """

    sentence: ClassVar[str] = "where a small change of a pixel moves the class's logit most, averaged over noise"

    n: int = 25
    sigma: float = 0.15
    sign: Sign = "absolute"

    def __post_init__(self) -> None:
        check_sign("smooth_grad", self.sign)
        if self.n < 1:
            raise InputError(f"smooth_grad: `n` counts noisy copies and must be at least 1; got {self.n}.")
        if not 0 < self.sigma <= 1:
            raise InputError(
                f"smooth_grad: `sigma` is a share of the pixel range and must lie in (0, 1]; got {self.sigma}. "
                "Write 0.15 for 15 %; gradient is the map without noise."
            )

    @property
    def gradients(self) -> int:
        """A gradient for each copy."""
        return self.n

    def __call__(self, classifier: BoundClassifier, images: Images, classes: Labels, keys: Keys) -> Heat:
        total = torch.zeros_like(images)
        with classifier.frozen():
            for copy in range(self.n):
                noise = self.sigma * keys.normal(images, f"smooth_grad {copy}")
                total += gradient(classifier, images + noise, classes)
        return channel_maximum(total / self.n, self.sign)
