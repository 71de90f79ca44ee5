"""Which operations are affine in what they read."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

_MODULES = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear,
)  # fmt: skip
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)

_IN_THE_FIRST = (
    "view view_as reshape flatten unflatten permute transpose t squeeze unsqueeze expand expand_as repeat contiguous "
    "clone to float double mean sum roll flip narrow select chunk split tensor_split unbind unfold fold movedim "
    "swapaxes neg tile index_select pad avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
    "adaptive_avg_pool3d interpolate upsample pixel_shuffle pixel_unshuffle channel_shuffle getitem div div_ truediv "
    "itruediv cumsum diff mT T"
)
_IN_ANY = (
    "mul mul_ imul matmul bmm einsum linear add add_ iadd sub sub_ isub rsub cat concat concatenate stack "
    "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d"
)
_ANYWHERE, _FIRST = frozenset(_IN_ANY.split()), frozenset(_IN_THE_FIRST.split())
_DROPOUTS = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
_TRAINING = {**dict.fromkeys(_DROPOUTS, 2), "stochastic_depth": 3}
"""Functions that do nothing unless they are training, and where they are told so."""


def is_weighted(layer: nn.Module) -> bool:
    """A convolution or linear layer."""
    return isinstance(layer, _MODULES)


def is_batch_norm(layer: nn.Module) -> bool:
    """Batch normalisation, which in evaluation mode scales and shifts each channel."""
    return isinstance(layer, _NORMS) and layer.running_var is not None


def affine_module(layer: nn.Module) -> bool:
    """Whether a layer is affine in its one input."""
    return is_weighted(layer) or is_batch_norm(layer)


def affine_call(name: str, *, first: bool) -> bool:
    """Whether a function is affine in one of its arguments while all others stay, `first` where it is the first."""
    return name in _ANYWHERE or (first and name in _FIRST)


def idle(name: str, args: Sequence[Any], options: Mapping[str, Any]) -> bool | None:
    """Whether a function that only works in training is idle; None of all other functions."""
    if name not in _TRAINING:
        return None
    place = _TRAINING[name]
    training = options.get("training", args[place] if len(args) > place else True)
    return not training
