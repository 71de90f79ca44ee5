"""Recipes of images as they are, and of images with noise on them."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from demur.errors import InputError
from demur.training.recipe import Lesson, OneCycle


@dataclass(frozen=True, kw_only=True)
class Standard(OneCycle):
    """Cross-entropy under Nesterov SGD with one cycle of the learning rate, on mirrored and shifted images.

    Smith and Topin (2017), arXiv:1708.07120, for the cycle. Labels are neither smoothed nor mixed unless asked for:
    popular remedies of calibration often spoil the ranking of confidences that a guard relies on, Zhu et al. (2024),
    arXiv:2403.02886.
    """

    def check(self) -> None:
        """Nothing of its own."""

    @property
    def as_they_are(self) -> bool:
        """Where neither a mirror nor a shift is asked for."""
        return not self.mirror and not self.shift

    def loss(self, student: nn.Module, lesson: Lesson) -> Tensor:
        """Cross-entropy, in nats."""
        return self.surprise(student(lesson.images), lesson)


@dataclass(frozen=True, kw_only=True)
class GaussianNoise(OneCycle):
    """Cross-entropy on images with normal noise of standard deviation `sigma` in each pixel, which is not clipped.

    What is learned so can be smoothed: Cohen et al. (2019), arXiv:1902.02918. `sigma` is a fraction of the [0, 1] pixel
    range.
    """

    sigma: float = 0.25

    def check(self) -> None:
        """Refuse noise that is none."""
        if not 0 < self.sigma <= 1:
            raise InputError(f"`sigma` must lie in (0, 1], a fraction of the pixel range; got {self.sigma}.")

    def loss(self, student: nn.Module, lesson: Lesson) -> Tensor:
        """Cross-entropy on noisy images, in nats."""
        noise = torch.randn(lesson.images.shape, generator=lesson.dice).to(lesson.images.device)
        return self.surprise(student(lesson.images + self.sigma * noise), lesson)
