"""A residual network that two cores can train: its stem halves the resolution at once."""

import torch
from torch import nn

from demur.shapes import Images, Logits
from demur.zoo.blocks import Residual


class CompactResNet(nn.Module):
    """Three residual blocks behind a 5×5 stem of stride 2, global average pooling and a linear `head`.

    For images of about 28 to 32 pixels: the stem halves the resolution at once, so one 28×28 grey image costs 5.8 M
    multiplications at the default width, in 85,810 parameters. Logits are affine in the pooled features.
    He et al. (2016), arXiv:1512.03385.
    """

    def __init__(self, channels: int = 1, classes: int = 10, width: int = 24) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 5, stride=2, padding=2, bias=False)
        self.stem_norm = nn.BatchNorm2d(width)
        self.blocks = nn.Sequential(
            Residual(width, width), Residual(width, 2 * width, stride=2), Residual(2 * width, 2 * width)
        )
        self.head = nn.Linear(2 * width, classes)

    def forward(self, images: Images) -> Logits:
        """(rows, channels, height, width) in [0, 1] → (rows, classes) logits; normalisation is learned by the stem."""
        maps = self.blocks(torch.relu(self.stem_norm(self.stem(images))))
        return self.head(maps.mean(dim=(2, 3)))
