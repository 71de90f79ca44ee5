"""Intervals that travel through a network in place of numbers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from demur.proofs.interval_ends import ROUNDING, Ends, NoBoundError
from demur.proofs.interval_rules import RULES, add, divide, multiply, subtract

_DEVICES = ("cpu", "cuda")


@dataclass(frozen=True, eq=False)
class Interval(Ends):
    """Values between `low` and `high` that behave like a tensor where a bound is known, and refuse where none is."""

    @classmethod
    def around(cls, x: Tensor, radius: Tensor | float, unit: float = ROUNDING) -> Self:
        """All values that lie within a radius of these and in [0, 1], for a proof; with a `unit` of 0 for training."""
        x = x.double()
        return cls((x - radius).clamp(min=0).float(), (x + radius).clamp(max=1).float(), unit)

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        _types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if any(map(torch.is_autocast_enabled, _DEVICES)):
            raise NoBoundError("a precision that autocast chooses")
        name = getattr(func, "__name__", str(func))
        return _rule(name.strip("_") if name.startswith("__") else name)(*args, **dict(kwargs or {}))

    def __getattr__(self, name: str) -> Any:
        rule = _rule(name)
        return lambda *args, **kwargs: rule(self, *args, **kwargs)

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

    def __len__(self) -> int:
        return len(self.low)

    def __bool__(self) -> bool:
        raise NoBoundError("a decision by what depends on the image")

    def __eq__(self, other: object) -> bool:
        raise NoBoundError("a comparison of what depends on the image")

    __hash__ = object.__hash__

    def __getitem__(self, index: Any) -> "Interval":
        return self.each(lambda end: end[index])

    def __add__(self, other: Any) -> Ends:
        return add(self, other)

    __radd__ = __add__

    def __iadd__(self, other: Any) -> Ends:
        return self.written(add(self, other))

    def __neg__(self) -> "Interval":
        return self.between(-self.high, -self.low)

    def __sub__(self, other: Any) -> Ends:
        return subtract(self, other)

    def __isub__(self, other: Any) -> Ends:
        return self.written(subtract(self, other))

    def __rsub__(self, other: Any) -> Ends:
        return subtract(other, self)

    def __mul__(self, other: Any) -> Ends:
        return multiply(self, other)

    __rmul__ = __mul__

    def __imul__(self, other: Any) -> Ends:
        return self.written(multiply(self, other))

    def __truediv__(self, other: Any) -> Ends:
        return divide(self, other)

    def __itruediv__(self, other: Any) -> Ends:
        return self.written(divide(self, other))


def _rule(name: str) -> Callable[..., Any]:
    rule = RULES.get(name)
    if rule is None:
        raise NoBoundError(f"the operation {name}")
    return rule
