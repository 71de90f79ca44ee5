"""What every training recipe gives; the loop, its randomness and its checkpoints are `learn`'s."""

from collections.abc import Iterable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from demur.shapes import Images, Labels


class Recipe(Protocol):
    """A frozen bundle of hyper-parameters that says what one step is."""

    @property
    def epochs(self) -> int:
        """Passes over the images."""

    @property
    def batch(self) -> int:
        """Images per step."""

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """What moves the parameters."""

    def pace(self, done: int, total: int) -> Mapping[str, float]:
        """The optimizer's settings for the step after `done` of `total` ones."""

    def view(self, images: Images, dice: torch.Generator) -> Images:
        """A random view of each image; for training alone."""

    def loss(self, student: nn.Module, images: Images, labels: Labels, counts: Tensor) -> Tensor:
        """What a step makes smaller, in nats; `counts` (classes,) are the images to learn from, by class id."""
