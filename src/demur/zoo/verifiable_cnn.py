"""A network small and plain enough for interval bounds to say something of it once it is trained for them."""

import torch
from torch import nn

from demur.shapes import Images, Logits

_SIDE = 7


class VerifiableCNN(nn.Module):
    """Two 4×4 convolutions of stride 2, a layer of `hidden` values and a linear `head`, with ReLU between.

    There is no batch normalisation: bounds while training are those of the network that is kept. Maps of another size
    than 7×7, which 28×28 images have, are averaged to it. 122,194 parameters at one channel and ten classes.
    Gowal et al. (2018), arXiv:1810.12715, for small networks of this kind.
    """

    def __init__(self, channels: int = 1, classes: int = 10, width: int = 16, hidden: int = 72) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 4, stride=2, padding=1)
        self.second = nn.Conv2d(width, 2 * width, 4, stride=2, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(_SIDE)
        self.hidden = nn.Linear(2 * width * _SIDE * _SIDE, hidden)
        self.head = nn.Linear(hidden, classes)

    def forward(self, images: Images) -> Logits:
        """(rows, channels, height, width) in [0, 1] → (rows, classes) logits."""
        maps = torch.relu(self.second(torch.relu(self.first(images))))
        return self.head(torch.relu(self.hidden(self.pool(maps).flatten(1))))
