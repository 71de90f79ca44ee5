"""A program that takes a fixed number of images at once, asked as often as it must be."""

import torch
from torch import Tensor, nn

from demur.classifier.outputs import parts_of


class FixedBatch(nn.Module):
    """Answers any number of images by a program that takes a fixed one; the last time it is filled up with copies.

    Hooks on its layers would see a few images at a time, so it has none that may be asked for.
    """

    def __init__(self, program: nn.Module, rows: int) -> None:
        super().__init__()
        self.program = program
        self.rows = rows
        self.training = False

    def forward(self, images: Tensor) -> Tensor | dict[str, Tensor]:
        """The answers to all images, in their order; of an answer with several parts each by its name."""
        filled = torch.cat([images, *[images[-1:]] * (-len(images) % self.rows)])
        answers = [self.program(part) for part in torch.split(filled, self.rows)]
        if isinstance(answers[0], Tensor):
            return torch.cat(answers)[: len(images)]
        parts = [parts_of(answer) for answer in answers]
        return {name: torch.cat([each[name] for each in parts])[: len(images)] for name in parts[0]}
