"""Architectures and their blocks: the CIFAR residual networks, a compact one, SimpleCNN; weights come from files.

The residual networks have 6·blocks + 2 layers, three stages of 16, 32 and 64 channels: He et al. (2016),
arXiv:1512.03385, §4.2.
"""

import torch
from torch import Tensor, nn

from demur.shapes import Images, Logits


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

    Hu et al. (2018), arXiv:1709.01507.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // reduction)
        self.excite = nn.Linear(channels // reduction, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape (rows, channels, height, width)."""
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean(dim=(2, 3))))))
        return x * gate[:, :, None, None]


class ShortcutBlock(nn.Module):
    """Two 3×3 convolutions around a parameter-free shortcut (option A: subsampling and zero-padded channels).

    He et al. (2016), arXiv:1512.03385, §4.2.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.extra = outputs - inputs
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (rows, inputs, height, width) to (rows, outputs, height/stride, width/stride)."""
        inner = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(inner + self.shortcut(x))

    def shortcut(self, x: Tensor) -> Tensor:
        """The input itself where shapes agree, else every `stride`-th pixel between channels of zeros."""
        if self.stride == 1 and self.extra == 0:
            return x
        before = self.extra // 2
        return nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.extra - before))


class CifarResNet(nn.Module):
    """A residual network for small images, with parameter-free shortcuts and a linear head called `linear`.

    Images are (rows, channels, height, width), 32×32 in the paper; any side that is a multiple of four works.
    """

    def __init__(self, blocks: int, channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks, stride=1)
        self.layer2 = _stage(16, 32, blocks, stride=2)
        self.layer3 = _stage(32, 64, blocks, stride=2)
        self.linear = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Maps images to logits (rows, classes)."""
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean(dim=(2, 3)))


def resnet20(channels: int = 3, classes: int = 10) -> CifarResNet:
    """ResNet-20: 269,722 parameters, 41 million multiply-adds at 3×32×32."""
    return CifarResNet(3, channels, classes)


def resnet56(channels: int = 3, classes: int = 10) -> CifarResNet:
    """ResNet-56: 853,018 parameters, 126 million multiply-adds at 3×32×32."""
    return CifarResNet(9, channels, classes)


def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    first = ShortcutBlock(inputs, outputs, stride)
    return nn.Sequential(first, *(ShortcutBlock(outputs, outputs) for _ in range(blocks - 1)))


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


class SimpleCNN(nn.Module):
    """One plain and three strided separable convolutions, global average pooling and a linear head called `linear`.

    Images are (rows, channels, height, width), 3×32×32 by default; the last map is an eighth of each side.
    52,630 parameters at three channels and ten classes, 54,038 with the statistics of batch normalisation.
    """

    def __init__(self, channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.early_conv = nn.Conv2d(channels, 32, 3, padding=1, bias=False)
        self.early_bn = nn.BatchNorm2d(32)
        self.separable1 = SeparableConv(32, 64, stride=2)
        self.gate1 = SqueezeExcite(64)
        self.separable2 = SeparableConv(64, 128, stride=2)
        self.gate2 = SqueezeExcite(128)
        self.separable3 = SeparableConv(128, 256, stride=2)
        self.linear = nn.Linear(256, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Maps images to logits (rows, classes)."""
        x = torch.relu(self.early_bn(self.early_conv(x)))
        x = self.gate1(self.separable1(x))
        x = self.gate2(self.separable2(x))
        return self.linear(self.separable3(x).mean(dim=(2, 3)))
