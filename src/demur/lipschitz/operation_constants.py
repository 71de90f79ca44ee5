"""How fast the operations between linear layers can change, in L2, and which operations are affine."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

Sizes = int | Sequence[int | None] | None


def window_overlap(dimensions: int, kernel: Sizes, stride: Sizes, dilation: Sizes) -> int:
    """Of windows that move: 1 where the stride is no smaller than the window.

    Along an axis, of k places a pixel can take in a window d apart, those that some window of stride s puts it in are
    s/gcd(s, d) apart.
    """
    triples = zip(*(each(sizes, dimensions) for sizes in (kernel, stride, dilation)), strict=True)
    return math.prod(math.ceil(k / (s // math.gcd(s, d))) for k, s, d in triples)


def overlap_adaptive(sizes: tuple[int, ...], outputs: Sizes) -> int:
    """Of windows that share an axis out: output i of m reads the pixels from ⌊i·n/m⌋ to before ⌈(i + 1)·n/m⌉."""
    return math.prod(_axis(n, m) for n, m in zip(sizes, each(outputs, len(sizes), sizes), strict=True))


def each(value: Sizes, dimensions: int, default: Sequence[int] = ()) -> tuple[int, ...]:
    """One whole number for each axis; an axis without one takes its default."""
    values = [value] * dimensions if value is None or isinstance(value, int) else list(value)
    values = values * dimensions if len(values) == 1 else values
    return tuple(default[axis] if size is None else size for axis, size in enumerate(values))


def _axis(n: int, m: int) -> int:
    windows = [range(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]
    return max(sum(pixel in window for window in windows) for pixel in range(n))


Reader = Callable[..., float]
"""From the arguments of a call, the input as it was on a probe, to a constant."""

_GELU = 1.1289042  # slope Φ(x) + x·φ(x), largest at √2
_GELU_TANH = 1.1289931  # largest slope of the approximation by tanh, at 1.4185
_SILU = 1.0998394  # slope σ(x)·(1 + x·(1 − σ(x))), largest at 2.3994
_MISH = 1.0884982  # slope of x·tanh(softplus(x)), largest at 1.4906
_SELU = 1.7580994  # scale·α, the slope just below 0; Klambauer et al. (2017), arXiv:1706.02515
_HARDSIGMOID = 0.1666667  # slope 1/6, rounded up as torch does
_HARDSWISH = 1.5  # slope (2x + 3)/6 up to x = 3

_NO_STEEPER_THAN_ONE = (
    "relu relu_ relu6 tanh tanh_ hardtanh hardtanh_ softsign softplus logsigmoid celu celu_ abs clamp clamp_ clamp_min "
    "clamp_max clip sin cos atan amax amin softshrink tanhshrink"
)


def _constant(value: float) -> Reader:
    return lambda *_args, **_options: value


def _below_zero(x: Tensor, slope: float | None = None, *_args: object, **options: Any) -> float:
    """Leaky ReLU has its slope below 0, ELU α·exp(x)."""
    del x
    given = [slope, options.get("negative_slope"), options.get("alpha")]
    return max([1.0, *(abs(value) for value in given if value is not None)])


def _prelu(_x: Tensor, weight: Tensor) -> float:
    return max(1.0, float(weight.detach().abs().max()))


def _gelu(_x: Tensor, approximate: str = "none") -> float:
    return _GELU if approximate == "none" else _GELU_TANH


def _log_softmax(x: Tensor, dim: int | None = None, *_args: object, **_options: object) -> float:
    """The Jacobian I − 1·pᵀ is a projection along 1, of norm √K·‖p‖ ≤ √K for K classes."""
    return math.sqrt(x.shape[-1 if dim is None else dim])


def _layer_norm(_x: Tensor, _shape: object, weight: Tensor | None = None, *rest: Any, **options: Any) -> float:
    """(x − mean)/√(variance + ε) is nowhere steeper than 1/√ε: the Jacobian is a projection over the divisor."""
    eps = options.get("eps", rest[1] if len(rest) > 1 else 1e-5)
    return (1.0 if weight is None else float(weight.detach().abs().max())) / math.sqrt(eps)


def _max_pool(
    x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, **_options: object
) -> float:
    """Each output is one input of its window, so a change of an input counts once for each window it lies in."""
    del padding
    return math.sqrt(window_overlap(x.ndim - 2, kernel_size, stride or kernel_size, dilation))


def _adaptive_max_pool(x: Tensor, output_size: Any, *_args: object, **_options: object) -> float:
    return math.sqrt(overlap_adaptive(tuple(x.shape[2:]), output_size))


CONSTANTS: Mapping[str, Reader] = {
    **dict.fromkeys(_NO_STEEPER_THAN_ONE.split(), _constant(1.0)),
    **dict.fromkeys(("sigmoid", "sigmoid_"), _constant(0.25)),
    **dict.fromkeys(("leaky_relu", "leaky_relu_", "elu", "elu_"), _below_zero),
    "hardsigmoid": _constant(_HARDSIGMOID),
    "hardswish": _constant(_HARDSWISH),
    "silu": _constant(_SILU),
    "mish": _constant(_MISH),
    "selu": _constant(_SELU),
    "gelu": _gelu,
    "prelu": _prelu,
    # diag(p) − p·pᵀ has no row sum of absolute values above 2·p·(1 − p) ≤ 1/2
    "softmax": _constant(0.5),
    "log_softmax": _log_softmax,
    "layer_norm": _layer_norm,
    "group_norm": _layer_norm,
    **dict.fromkeys((f"max_pool{n}d" for n in (1, 2, 3)), _max_pool),
    **dict.fromkeys((f"adaptive_max_pool{n}d" for n in (1, 2, 3)), _adaptive_max_pool),
}
"""By the name of the function that is called; torch's own functions only."""

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
