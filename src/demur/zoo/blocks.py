"""The blocks that architectures are built of."""

import torch
from torch import Tensor, nn


class SeparableConv(nn.Module):
    """Depthwise 3×3 then pointwise 1×1 convolution, each followed by batch normalisation and ReLU.

    Howard et al. (2017), arXiv:1704.04861.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, stride, padding=1, groups=inputs, bias=False)
        self.depthwise_bn = nn.BatchNorm2d(inputs)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.pointwise_bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (rows, inputs, height, width) to (rows, outputs, height/stride, width/stride)."""
        x = torch.relu(self.depthwise_bn(self.depthwise(x)))
        return torch.relu(self.pointwise_bn(self.pointwise(x)))


class SqueezeExcite(nn.Module):
    """Scales every channel by a gate in (0, 1) computed from the means of all channels.

    Between the two layers are a `reduction`-th of the channels, at least one. Hu et al. (2018), arXiv:1709.01507.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        narrow = max(1, channels // reduction)
        self.squeeze = nn.Linear(channels, narrow)
        self.excite = nn.Linear(narrow, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape (rows, channels, height, width)."""
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean(dim=(2, 3))))))
        return x * gate[:, :, None, None]


class GroupedConv(nn.Module):
    """A 3×3 convolution within groups of channels, then batch normalisation and ReLU.

    Krizhevsky et al. (2012), "ImageNet classification with deep convolutional neural networks"; Xie et al. (2017),
    arXiv:1611.05431.
    """

    def __init__(self, inputs: int, outputs: int, groups: int = 4, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (rows, inputs, height, width) to (rows, outputs, height/stride, width/stride)."""
        return torch.relu(self.norm(self.conv(x)))


class ConvAttention(nn.Module):
    """CBAM: a gate per channel from the mean and the maximum of its map, then one per pixel from those over channels.

    Both kinds of pooling go through the same two layers, with a `reduction`-th of the channels between them, at least
    one; the gate of pixels is a convolution of `kernel` pixels a side. Woo et al. (2018), arXiv:1807.06521.
    """

    def __init__(self, channels: int, reduction: int = 16, kernel: int = 7) -> None:
        super().__init__()
        narrow = max(1, channels // reduction)
        self.squeeze = nn.Linear(channels, narrow)
        self.excite = nn.Linear(narrow, channels)
        self.where = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)
        self.where_norm = nn.BatchNorm2d(1)

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape (rows, channels, height, width)."""
        channels = self._weighed(x.mean(dim=(2, 3))) + self._weighed(x.amax(dim=(2, 3)))
        x = x * torch.sigmoid(channels)[:, :, None, None]
        pooled = torch.stack([x.amax(dim=1), x.mean(dim=1)], dim=1)
        return x * torch.sigmoid(self.where_norm(self.where(pooled)))

    def _weighed(self, pooled: Tensor) -> Tensor:
        return self.excite(torch.relu(self.squeeze(pooled)))


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
        self.shortcut = nn.Identity() if same else projection(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(rows, inputs, height, width) → (rows, outputs, height / stride, width / stride)."""
        inner = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(self.second_norm(self.second(inner)) + self.shortcut(x))


def projection(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """A shortcut between shapes: a 1×1 convolution and batch normalisation."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
