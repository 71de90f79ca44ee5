"""How fast the operations between linear layers can change, in L2, whatever they are given.

Of a function applied value by value that is its largest slope, of others the largest norm of their Jacobian.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from demur.lipschitz.windows import overlap, overlap_adaptive

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


def _fixed(value: float) -> Reader:
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
    return math.sqrt(overlap(x.ndim - 2, kernel_size, stride or kernel_size, dilation))


def _adaptive_max_pool(x: Tensor, output_size: Any, *_args: object, **_options: object) -> float:
    return math.sqrt(overlap_adaptive(tuple(x.shape[2:]), output_size))


CONSTANTS: Mapping[str, Reader] = {
    **dict.fromkeys(_NO_STEEPER_THAN_ONE.split(), _fixed(1.0)),
    **dict.fromkeys(("sigmoid", "sigmoid_"), _fixed(0.25)),
    **dict.fromkeys(("leaky_relu", "leaky_relu_", "elu", "elu_"), _below_zero),
    "hardsigmoid": _fixed(_HARDSIGMOID),
    "hardswish": _fixed(_HARDSWISH),
    "silu": _fixed(_SILU),
    "mish": _fixed(_MISH),
    "selu": _fixed(_SELU),
    "gelu": _gelu,
    "prelu": _prelu,
    # diag(p) − p·pᵀ has no row sum of absolute values above 2·p·(1 − p) ≤ 1/2
    "softmax": _fixed(0.5),
    "log_softmax": _log_softmax,
    "layer_norm": _layer_norm,
    "group_norm": _layer_norm,
    **dict.fromkeys((f"max_pool{n}d" for n in (1, 2, 3)), _max_pool),
    **dict.fromkeys((f"adaptive_max_pool{n}d" for n in (1, 2, 3)), _adaptive_max_pool),
}
"""By the name of the function that is called; torch's own functions only."""
