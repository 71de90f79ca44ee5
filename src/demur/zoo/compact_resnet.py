"""A residual network small enough to audit on two cores."""

import torch
from torch import Tensor, nn

from demur.shapes import Images, Logits


class Residual(nn.Module):
    """Two 3×3 convolutions beside a shortcut; the shortcut is a 1×1 convolution where the shape changes.

    He et al. (2016), arXiv:1512.03385.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else _projection(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(rows, inputs, height, width) → (rows, outputs, height / stride, width / stride)."""
        inner = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(self.second_norm(self.second(inner)) + self.shortcut(x))


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


def _projection(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
