"""Intervals that travel through a network in place of numbers: what every value can be for all images of a box.

Gowal et al. (2018), arXiv:1810.12715. Bounds are computed in float64 and hold for the network as float32 computes it:
every operation widens them by what float32 can err, whatever the order of its sums (Higham (2002), "Accuracy and
stability of numerical algorithms", §3.1).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from demur.errors import DemurError

_UNIT = 8 * 2.0**-24
"""Relative error of one operation: eight times that of float32, for fast convolutions that add and multiply more."""


class NoBoundError(DemurError):
    """An operation that no bound is known for."""


@dataclass(frozen=True, eq=False)
class Interval:
    """Values between `low` and `high`, float64, of any shape; behaves like a tensor where a bound is known.

    Attributes:
        affine: where it comes out of a linear layer: what went in, weight and bias, so that differences of its values
            can be bounded without bounding each.
    """

    low: Tensor
    high: Tensor
    affine: "tuple[Interval, Tensor, Tensor | None] | None" = None

    @classmethod
    def around(cls, x: Tensor, radius: Tensor | float) -> "Interval":
        """All values that lie within a radius of these and in [0, 1]."""
        x = x.double()
        return cls((x - radius).clamp(min=0), (x + radius).clamp(max=1))

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        _types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name = getattr(func, "__name__", str(func)).strip("_")
        rule = RULES.get(name)
        if rule is None:
            raise NoBoundError(f"the operation {name}")
        return rule(*args, **dict(kwargs or {}))

    def __getattr__(self, name: str) -> Any:
        if name not in RULES:
            raise NoBoundError(f"the operation {name}")
        return lambda *args, **kwargs: RULES[name](self, *args, **kwargs)

    @property
    def shape(self) -> torch.Size:
        """As of a tensor."""
        return self.low.shape

    @property
    def ndim(self) -> int:
        """As of a tensor."""
        return self.low.ndim

    @property
    def dtype(self) -> torch.dtype:
        """What the network computes in."""
        return torch.float32

    @property
    def device(self) -> torch.device:
        """As of a tensor."""
        return self.low.device

    @property
    def centre(self) -> Tensor:
        """The middle."""
        return (self.low + self.high) / 2

    @property
    def radius(self) -> Tensor:
        """Half the width."""
        return (self.high - self.low) / 2

    @property
    def most(self) -> Tensor:
        """The largest absolute value."""
        return torch.maximum(self.low.abs(), self.high.abs())

    def widened(self, by: Tensor) -> "Interval":
        """Wider by so much on both sides."""
        return Interval(self.low - by, self.high + by)

    def __len__(self) -> int:
        return len(self.low)

    def __getitem__(self, index: Any) -> "Interval":
        return Interval(self.low[index], self.high[index])

    def __add__(self, other: Any) -> "Interval":
        return _add(self, other)

    __radd__ = __add__

    def __neg__(self) -> "Interval":
        return Interval(-self.high, -self.low)

    def __sub__(self, other: Any) -> "Interval":
        return _add(self, -other)

    def __rsub__(self, other: Any) -> "Interval":
        return _add(-self, other)

    def __mul__(self, other: Any) -> "Interval":
        return _multiply(self, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> "Interval":
        if isinstance(other, Interval):
            raise NoBoundError("the division by what depends on the image")
        return _multiply(self, 1 / _double(other))


Number: TypeAlias = Interval | Tensor | float


def _double(value: Any) -> Tensor:
    return torch.as_tensor(value).detach().double()


def _add(one: Number, other: Number, *, alpha: float = 1) -> Interval:
    if alpha != 1:
        raise NoBoundError("a sum with a factor")
    first, second = (each if isinstance(each, Interval) else _point(each) for each in (one, other))
    total = Interval(first.low + second.low, first.high + second.high)
    return total.widened(_UNIT * total.most)


def _point(value: Tensor | float) -> Interval:
    fixed = _double(value)
    return Interval(fixed, fixed)


def _subtract(one: Number, other: Number) -> Interval:
    return _add(one, -other)


def _multiply(one: Number, other: Number) -> Interval:
    first, second = (each if isinstance(each, Interval) else _point(each) for each in (one, other))
    ends = [a * b for a in (first.low, first.high) for b in (second.low, second.high)]
    low, high = ends[0], ends[0]
    for end in ends[1:]:
        low, high = torch.minimum(low, end), torch.maximum(high, end)
    product = Interval(low, high)
    return product.widened(_UNIT * product.most)


Map: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(values, weights) → a linear function of both."""


def _linear_map(x: Interval, weight: Tensor, bias: Tensor | None, terms: int, apply: Map) -> Interval:
    """The image of a box under a linear function: its middle, give or take the radius times absolute weights."""
    weight = weight.detach().double()
    middle, reach = apply(x.centre, weight), apply(x.radius, weight.abs())
    error = (terms + 2) * _UNIT * apply(x.most, weight.abs())
    if bias is not None:
        spread = bias.detach().double().view(-1, *[1] * (middle.ndim - 2))
        middle, error = middle + spread, error + _UNIT * spread.abs()
    return Interval(middle - reach - error, middle + reach + error)


def _linear(x: Interval, weight: Tensor, bias: Tensor | None = None) -> Interval:
    if x.ndim != 2:
        raise NoBoundError("a linear layer over more than features")
    found = _linear_map(x, weight, bias, weight.shape[1], lambda values, w: values @ w.T)
    return Interval(
        found.low, found.high, (x, weight.detach().double(), None if bias is None else bias.detach().double())
    )


def _conv2d(
    x: Interval,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Interval:
    def apply(values: Tensor, w: Tensor) -> Tensor:
        return functional.conv2d(values, w, None, stride, padding, dilation, groups)

    return _linear_map(x, weight, bias, weight[0].numel(), apply)


def _batch_norm(
    x: Interval,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,  # noqa: FBT001, FBT002 - torch's own signature
    momentum: float = 0.1,  # noqa: ARG001 - torch's own signature
    eps: float = 1e-5,
) -> Interval:
    if training or running_mean is None or running_var is None:
        raise NoBoundError("batch normalisation by the batch")
    shape = (1, -1, *[1] * (x.ndim - 2))
    scale = (1 / (running_var.double() + eps).sqrt()).detach()
    scale = scale if weight is None else scale * weight.detach().double()
    shift = -running_mean.double() * scale
    moved = shift if bias is None else shift + bias.detach().double()
    middle, reach = x.centre * scale.view(shape) + moved.view(shape), x.radius * scale.abs().view(shape)
    size = x.most * scale.abs().view(shape) + shift.abs().view(shape)
    error = 6 * _UNIT * (size if bias is None else size + bias.detach().double().abs().view(shape))
    return Interval(middle - reach - error, middle + reach + error)


def _rising(function: Callable[..., Tensor], error: float = 0.0) -> Callable[..., Interval]:
    """The rule of a function that never falls, of float32 error at most `error` of its size."""

    def rule(x: Interval, *args: Any, **options: Any) -> Interval:
        options.pop("inplace", None)
        found = Interval(function(x.low, *args, **options), function(x.high, *args, **options))
        return found.widened(error * found.most) if error else found

    return rule


def _relu(x: Interval, inplace: bool = False) -> Interval:  # noqa: FBT001, FBT002, ARG001 - torch's own signature
    return Interval(x.low.clamp(min=0), x.high.clamp(min=0))


def _hardtanh(x: Interval, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Interval:  # noqa: FBT001, FBT002, ARG001 - torch's own signature
    return Interval(x.low.clamp(min_val, max_val), x.high.clamp(min_val, max_val))


def _leaky_relu(x: Interval, negative_slope: float = 0.01, inplace: bool = False) -> Interval:  # noqa: FBT001, FBT002, ARG001 - torch's own signature
    if negative_slope < 0:
        raise NoBoundError("a leaky ReLU with a negative slope")
    low, high = (functional.leaky_relu(end, negative_slope) for end in (x.low, x.high))
    return Interval(low, high).widened(_UNIT * x.most)


def _mean(x: Interval, dim: Any = None, keepdim: bool = False, **options: Any) -> Interval:  # noqa: FBT001, FBT002 - torch's own signature
    if options:
        raise NoBoundError("a mean in another precision")
    dims = tuple(range(x.ndim)) if dim is None else dim
    low, high = x.low.mean(dims, keepdim), x.high.mean(dims, keepdim)
    count = x.low.numel() / max(1, low.numel())
    return Interval(low, high).widened((count + 1) * _UNIT * x.most.mean(dims, keepdim))


def _average(pool: Callable[..., Tensor]) -> Callable[..., Interval]:
    """The rule of an average over windows."""

    def rule(x: Interval, *args: Any, **options: Any) -> Interval:
        found = Interval(pool(x.low, *args, **options), pool(x.high, *args, **options))
        terms = x.shape[-1] * x.shape[-2] + 1
        return found.widened(terms * _UNIT * pool(x.most, *args, **options))

    return rule


def _max_pool2d(x: Interval, *args: Any, **options: Any) -> Interval:
    options.pop("return_indices", None)
    return Interval(functional.max_pool2d(x.low, *args, **options), functional.max_pool2d(x.high, *args, **options))


def _each(function: Callable[..., Tensor]) -> Callable[..., Interval]:
    """The rule of what moves values and changes none."""

    def rule(x: Interval, *args: Any, **options: Any) -> Interval:
        return Interval(function(x.low, *args, **options), function(x.high, *args, **options))

    return rule


def _pad(x: Interval, pad: Any, mode: str = "constant", value: float | None = None) -> Interval:
    return Interval(*(functional.pad(end, pad, mode, value) for end in (x.low, x.high)))


def _cat(parts: Any, dim: int = 0) -> Interval:
    chosen = [each if isinstance(each, Interval) else _point(each) for each in parts]
    return Interval(torch.cat([each.low for each in chosen], dim), torch.cat([each.high for each in chosen], dim))


def _dropout(x: Interval, p: float = 0.5, training: bool = True, inplace: bool = False) -> Interval:  # noqa: FBT001, FBT002, ARG001 - torch's own signature
    if training:
        raise NoBoundError("dropout that drops")
    return x


def _same(x: Interval, *_args: Any, **_options: Any) -> Interval:
    return x


def _size(x: Interval, dim: int | None = None) -> Any:
    return x.shape if dim is None else x.shape[dim]


_EXP_ERROR = 4 * _UNIT

RULES: Mapping[str, Callable[..., Any]] = {
    "adaptive_avg_pool2d": _average(functional.adaptive_avg_pool2d),
    "add": _add,
    "avg_pool2d": _average(functional.avg_pool2d),
    "batch_norm": _batch_norm,
    "cat": _cat,
    "clamp": _rising(torch.clamp),
    "clone": _same,
    "contiguous": _same,
    "conv2d": _conv2d,
    "dim": lambda x: x.ndim,
    "dropout": _dropout,
    "feature_dropout": _dropout,
    "dropout2d": _dropout,
    "flatten": _each(torch.flatten),
    "float": _same,
    "hardtanh": _hardtanh,
    "leaky_relu": _leaky_relu,
    "linear": _linear,
    "max_pool2d": _max_pool2d,
    "mean": _mean,
    "mul": _multiply,
    "numel": lambda x: x.low.numel(),
    "pad": _pad,
    "permute": _each(torch.permute),
    "relu": _relu,
    "relu6": lambda x, inplace=False: _hardtanh(x, 0.0, 6.0, inplace),
    "reshape": _each(lambda x, *shape: x.reshape(*shape)),
    "sigmoid": _rising(torch.sigmoid, _EXP_ERROR),
    "size": _size,
    "squeeze": _each(torch.squeeze),
    "sub": _subtract,
    "tanh": _rising(torch.tanh, _EXP_ERROR),
    "to": _same,
    "unsqueeze": _each(torch.unsqueeze),
    "view": _each(lambda x, *shape: x.reshape(*shape)),
}
"""What is known of an operation, by its name in torch."""


def pair_leads(logits: Interval, classes: Tensor) -> Tensor:
    """At least how far the logits of some classes (rows, some) lie above each class's, (rows, some, classes).

    Through the last linear layer the difference of two weights is taken before its bound: what both read alike cancels.
    """
    if logits.affine is None:
        return logits.low.gather(1, classes)[:, :, None] - logits.high[:, None, :]
    x, weight, bias = logits.affine
    difference = weight[classes][:, :, None, :] - weight[None, None]
    middle = (difference * x.centre[:, None, None]).sum(dim=3)
    reach = (difference.abs() * x.radius[:, None, None]).sum(dim=3)
    size = x.most @ weight.abs().T
    if bias is not None:
        middle, size = middle + bias[classes][:, :, None] - bias, size + bias.abs()
    terms = (weight.shape[1] + 2) * _UNIT
    return middle - reach - terms * (size.gather(1, classes)[:, :, None] + size[:, None, :])
