"""EfficientNet-Lite0: inverted residual blocks without gates, and ReLU6, for images of 224 pixels.

Tan and Le (2019), arXiv:1905.11946, in the variant for small machines. Layers are called as in the weights that are
published for PyTorch.
"""

from torch import Tensor, nn

from demur.shapes import Images, Logits

_EPSILON = 1e-3
_MOMENTUM = 0.01
_STEM, _HEAD, _DROPOUT = 32, 1280, 0.2
_STAGES = (
    (1, 16, 3, 1, 1), (6, 24, 3, 2, 2), (6, 40, 5, 2, 2), (6, 80, 3, 2, 3), (6, 112, 5, 1, 3), (6, 192, 5, 2, 4),
    (6, 320, 3, 1, 1),
)  # fmt: skip
"""Of each stage how much a block widens, its channels, kernel and first stride, and how many blocks it has."""


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_EPSILON, momentum=_MOMENTUM)


def _padding(kernel: int, stride: int) -> nn.ZeroPad2d:
    """So much that a stride of 2 halves an even side, the odd pixel at the right and the bottom, as TensorFlow does."""
    total = kernel - stride
    low = total // 2
    return nn.ZeroPad2d((low, total - low, low, total - low))


class InvertedResidual(nn.Module):
    """Widened by 1×1, filtered channel by channel, narrowed by 1×1; added to its input where the shape is the same."""

    def __init__(self, inputs: int, outputs: int, widening: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = inputs * widening
        self.adds = stride == 1 and inputs == outputs
        self.widens = widening > 1
        if self.widens:
            self.expand_conv = nn.Conv2d(inputs, inner, 1, bias=False)
            self.bn0 = _norm(inner)
        self.pad = _padding(kernel, stride)
        self.depthwise_conv = nn.Conv2d(inner, inner, kernel, stride, groups=inner, bias=False)
        self.bn1 = _norm(inner)
        self.project_conv = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn2 = _norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (rows, inputs, height, width) to (rows, outputs, height/stride, width/stride)."""
        wide = nn.functional.relu6(self.bn0(self.expand_conv(x))) if self.widens else x
        filtered = nn.functional.relu6(self.bn1(self.depthwise_conv(self.pad(wide))))
        narrow: Tensor = self.bn2(self.project_conv(filtered))
        return narrow + x if self.adds else narrow


class EfficientNetLite(nn.Module):
    """A strided stem, seven stages of inverted residual blocks, 1,280 averaged features, and a linear head.

    4,652,008 parameters for the 1,000 classes of ImageNet.

    Args:
        channels: of the images, whose sides are multiples of 32.
        classes: outputs.
    """

    def __init__(self, *, channels: int = 3, classes: int = 1000) -> None:
        super().__init__()
        self.pad = _padding(3, 2)
        self.conv_stem = nn.Conv2d(channels, _STEM, 3, 2, bias=False)
        self.bn0 = _norm(_STEM)
        blocks: list[nn.Module] = []
        width = _STEM
        for widening, outputs, kernel, first, count in _STAGES:
            for place in range(count):
                blocks.append(InvertedResidual(width, outputs, widening, kernel, 1 if place else first))
                width = outputs
        self.blocks = nn.Sequential(*blocks)
        self.conv_head = nn.Conv2d(width, _HEAD, 1, bias=False)
        self.bn1 = _norm(_HEAD)
        self.dropout = nn.Dropout(_DROPOUT)
        self.fc = nn.Linear(_HEAD, classes)

    def forward(self, x: Images) -> Logits:
        """Logits (rows, classes)."""
        x = nn.functional.relu6(self.bn0(self.conv_stem(self.pad(x))))
        x = nn.functional.relu6(self.bn1(self.conv_head(self.blocks(x))))
        logits: Logits = self.fc(self.dropout(x.mean(dim=(2, 3))))
        return logits
