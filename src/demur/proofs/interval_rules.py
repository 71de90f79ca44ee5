"""What is known of an operation on intervals, by its name in torch.

A rule takes what torch's function takes, and raises `NoBoundError` for what it has no bound for.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from demur.proofs.interval_ends import Affine, Ends, NoBoundError

Number: TypeAlias = Ends | Tensor | float
Rule: TypeAlias = Callable[..., Any]


def _pair(one: Number, other: Number) -> tuple[Ends, Ends]:
    if isinstance(one, Ends):
        return one, other if isinstance(other, Ends) else one.point(other)
    assert isinstance(other, Ends)
    return other.point(one), other


def add(one: Number, other: Number, *, alpha: float = 1) -> Ends:
    """The sum."""
    if alpha != 1:
        raise NoBoundError("a sum with a factor")
    first, second = _pair(one, other)
    total = first.between(first.low + second.low, first.high + second.high)
    return total.widened(total.most)


def subtract(one: Number, other: Number) -> Ends:
    """The difference, as if nothing were shared by both."""
    return add(one, other.between(-other.high, -other.low) if isinstance(other, Ends) else -other)


def multiply(one: Number, other: Number) -> Ends:
    """The product: its ends are among those of the four products of ends."""
    first, second = _pair(one, other)
    ends = torch.stack([a * b for a in (first.low, first.high) for b in (second.low, second.high)])
    product = first.between(ends.amin(dim=0), ends.amax(dim=0))
    return product.widened(product.most)


def divide(one: Number, other: Number) -> Ends:
    """The quotient by what is the same for all images."""
    if isinstance(other, Ends):
        raise NoBoundError("the division by what depends on the image")
    assert isinstance(one, Ends)
    return multiply(one, 1 / one.fixed(other))


Map: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(values, weights) → a linear function of both."""


def _linear_map(x: Ends, weight: Tensor, bias: Tensor | None, terms: int, apply: Map) -> Ends:
    """The image of a box under a linear function: its middle, give or take the radius times absolute weights."""
    slack = (terms + 2) * x.unit
    middle, reach = apply(x.centre, weight), apply(x.radius + slack * x.most, weight.abs())
    if bias is None:
        return x.between(middle - reach, middle + reach)
    spread = bias.view(-1, *[1] * (middle.ndim - 2))
    return x.between(middle - reach + spread, middle + reach + spread).widened(spread.abs() + middle.abs() + reach)


def _linear(x: Ends, weight: Tensor, bias: Tensor | None = None) -> Ends:
    if x.low.ndim != 2:
        raise NoBoundError("a linear layer over more than features")
    weight, bias = x.fixed(weight), None if bias is None else x.fixed(bias)
    found = _linear_map(x, weight, bias, weight.shape[1], lambda values, w: values @ w.T)
    return found.between(found.low, found.high, Affine(x.each(torch.clone), weight, bias))


def _conv2d(
    x: Ends,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Ends:
    def apply(values: Tensor, w: Tensor) -> Tensor:
        return functional.conv2d(values, w, None, stride, padding, dilation, groups)

    fixed_bias = None if bias is None else x.fixed(bias)
    return _linear_map(x, x.fixed(weight), fixed_bias, weight[0].numel(), apply)


def _batch_norm(
    x: Ends,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,  # noqa: FBT001, FBT002 - torch's own signature
    momentum: float = 0.1,  # noqa: ARG001 - torch's own signature
    eps: float = 1e-5,
) -> Ends:
    if training or running_mean is None or running_var is None:
        raise NoBoundError("batch normalisation by the batch")
    scale = 1 / (x.fixed(running_var) + eps).sqrt()
    scale = scale if weight is None else scale * x.fixed(weight)
    drop, lift = x.fixed(running_mean) * scale, x.fixed(0.0 if bias is None else bias)
    shape = (1, -1, *[1] * (x.low.ndim - 2))
    scale, shift, size = (each.view(shape) for each in (scale, lift - drop, lift.abs() + drop.abs()))
    middle, reach = x.centre * scale + shift, x.radius * scale.abs()
    return x.between(middle - reach, middle + reach).widened(6 * (x.most * scale.abs() + size))


def _rising(function: Callable[..., Tensor], error: float = 0.0) -> Rule:
    """The rule of a function that never falls, of an error of at most so many units of its size."""

    def rule(x: Ends, *args: Any, **options: Any) -> Ends:
        found = x.each(lambda end: function(end, *args, **options))
        return found.widened(error * found.most) if error else found

    return rule


def _relu(x: Ends, inplace: bool = False) -> Ends:  # noqa: FBT001, FBT002 - torch's own signature
    found = x.each(lambda end: end.clone().clamp(min=0))
    return x.written(found) if inplace else found


def _hardtanh(x: Ends, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Ends:  # noqa: FBT001, FBT002 - torch's own signature
    found = x.each(lambda end: end.clone().clamp(min_val, max_val))
    return x.written(found) if inplace else found


def _leaky_relu(x: Ends, negative_slope: float = 0.01, inplace: bool = False) -> Ends:  # noqa: FBT001, FBT002 - torch's own signature
    if negative_slope < 0:
        raise NoBoundError("a leaky ReLU with a negative slope")
    found = x.each(lambda end: functional.leaky_relu(end.clone(), negative_slope))
    found = found.widened(found.most)
    return x.written(found) if inplace else found


def _mean(x: Ends, dim: Any = None, keepdim: bool = False, **options: Any) -> Ends:  # noqa: FBT001, FBT002 - torch's own signature
    dims = {axis % x.low.ndim for axis in ([dim] if isinstance(dim, int) else dim or [0])}
    if options or 0 in dims:
        raise NoBoundError("a mean over images or in another precision")
    found = x.each(lambda end: end.mean(tuple(dims), keepdim))
    return found.widened((math.prod(x.low.shape[axis] for axis in dims) + 1) * x.most.mean(tuple(dims), keepdim))


def _avg_pool2d(
    x: Ends,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,  # noqa: FBT001, FBT002 - torch's own signature
    count_include_pad: bool = True,  # noqa: FBT001, FBT002 - torch's own signature
    divisor_override: int | None = None,
) -> Ends:
    if divisor_override is not None:
        raise NoBoundError("an average by another number than there are values")

    def pool(values: Tensor) -> Tensor:
        return functional.avg_pool2d(values, kernel_size, stride, padding, ceil_mode, count_include_pad)

    sides = (kernel_size, kernel_size) if isinstance(kernel_size, int) else tuple(kernel_size)
    return x.each(pool).widened((math.prod(sides) + 1) * pool(x.most))


def _adaptive_avg_pool2d(x: Ends, output_size: Any) -> Ends:
    def pool(values: Tensor) -> Tensor:
        return functional.adaptive_avg_pool2d(values, output_size)

    found = x.each(pool)
    sides = (-(-side // into) + 1 for side, into in zip(x.low.shape[-2:], found.low.shape[-2:], strict=True))
    return found.widened((math.prod(sides) + 1) * pool(x.most))


def _max_pool2d(x: Ends, *args: Any, **options: Any) -> Ends:
    if len(args) > 5 or options.pop("return_indices", False):
        raise NoBoundError("a maximum with its place")
    return x.each(lambda end: functional.max_pool2d(end, *args, **options))


def _moving(function: Callable[..., Tensor]) -> Rule:
    """The rule of what moves values and changes none."""
    return lambda x, *args, **options: x.each(lambda end: function(end, *args, **options))


def _pad(x: Ends, pad: Any, mode: str = "constant", value: float | None = None) -> Ends:
    return x.each(lambda end: functional.pad(end, pad, mode, value))


def _cat(parts: Any, dim: int = 0) -> Ends:
    first = next(each for each in parts if isinstance(each, Ends))
    chosen = [each if isinstance(each, Ends) else first.point(each) for each in parts]
    return first.between(torch.cat([each.low for each in chosen], dim), torch.cat([each.high for each in chosen], dim))


def _dropout(x: Ends, p: float = 0.5, training: bool = True, inplace: bool = False) -> Ends:  # noqa: FBT001, FBT002, ARG001 - torch's own signature
    if training:
        raise NoBoundError("dropout that drops")
    return x


def _to(x: Ends, *args: Any, **options: Any) -> Ends:
    types = [each for each in (*args, *options.values()) if isinstance(each, torch.dtype)]
    if any(each not in {torch.float32, torch.float64} for each in types):
        raise NoBoundError("a change of precision")
    if any(isinstance(each, Ends | Tensor) for each in args):
        raise NoBoundError("a change to the precision of another tensor")
    return x


def _size(x: Ends, dim: int | None = None) -> Any:
    return x.low.shape if dim is None else x.low.shape[dim]


RULES: Mapping[str, Rule] = {
    "adaptive_avg_pool2d": _adaptive_avg_pool2d,
    "add": add,
    "avg_pool2d": _avg_pool2d,
    "batch_norm": _batch_norm,
    "cat": _cat,
    "clamp": _rising(torch.clamp),
    "clone": lambda x, **_: x.each(torch.clone),
    "contiguous": lambda x, **_: x.each(lambda end: end.contiguous().view(end.shape)),
    "conv2d": _conv2d,
    "dim": lambda x: x.low.ndim,
    "div": divide,
    "dropout": _dropout,
    "dropout2d": _dropout,
    "feature_dropout": _dropout,
    "flatten": _moving(torch.flatten),
    "float": lambda x: x,
    "hardtanh": _hardtanh,
    "leaky_relu": _leaky_relu,
    "linear": _linear,
    "max_pool2d": _max_pool2d,
    "mean": _mean,
    "mul": multiply,
    "numel": lambda x: x.low.numel(),
    "pad": _pad,
    "permute": _moving(Tensor.permute),
    "relu": _relu,
    "relu6": lambda x, inplace=False: _hardtanh(x, 0.0, 6.0, inplace),
    "reshape": _moving(Tensor.reshape),
    "sigmoid": _rising(torch.sigmoid, 4),
    "size": _size,
    "squeeze": _moving(torch.squeeze),
    "sub": subtract,
    "tanh": _rising(torch.tanh, 4),
    "to": _to,
    "true_divide": divide,
    "unsqueeze": _moving(torch.unsqueeze),
    "view": _moving(Tensor.view),
}
"""What is known of an operation, by its name in torch; those that write in place by their name are not among them."""
