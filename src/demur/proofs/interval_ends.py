"""What a value of a network can be for all images of a box: at least `low`, at most `high`.

Gowal et al. (2018), arXiv:1810.12715. Ends of a proof hold for the network as float32 computes it: each operation
widens them by what float32 can err in it and in the ends, whatever the order of its sums (Higham (2002), "Accuracy and
stability of numerical algorithms", §3.1). Ends for training are not widened.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from demur.errors import DemurError

ROUNDING = 16 * 2.0**-24
"""Relative error of one operation: 16 times that of float32. The network errs once and the ends three times, in their
middle, their reach and the widening; the rest is for fast convolutions, which add and multiply more."""


class NoBoundError(DemurError):
    """An operation that no bound is known for."""


@dataclass(frozen=True, eq=False)
class Affine:
    """How values come out of a linear layer: what went in, weight (outputs, inputs), bias (outputs)."""

    inputs: "Ends"
    weight: Tensor
    bias: Tensor | None


@dataclass(frozen=True, eq=False)
class Ends:
    """Values of any shape between two ends.

    Attributes:
        low: at least this.
        high: at most this.
        unit: relative error of an operation by which ends are widened; 0 for training.
        affine: where it comes out of a linear layer, how, so that differences of its values can be bounded without
            bounding each.
    """

    low: Tensor
    high: Tensor
    unit: float = ROUNDING
    affine: Affine | None = None

    def between(self, low: Tensor, high: Tensor, affine: Affine | None = None) -> Self:
        """Other values of the same precision."""
        return replace(self, low=low, high=high, affine=affine)

    def each(self, function: Callable[[Tensor], Tensor]) -> Self:
        """A function that moves values, or never falls, at both ends."""
        return self.between(function(self.low), function(self.high))

    def widened(self, by: Tensor | float) -> Self:
        """Wider by so many units on both sides."""
        return self.between(self.low - self.unit * by, self.high + self.unit * by) if self.unit else self

    def written(self, found: "Ends") -> Self:
        """The same object with other values, which whatever shares its memory sees too.

        Raises:
            NoBoundError: it is a part of another value, which a network may lay out in memory in another way.
        """
        if self.low._base is not None:  # noqa: SLF001 - torch has no other word for a view
            raise NoBoundError("a change in place of a part of another value")
        self.low.copy_(found.low)
        self.high.copy_(found.high)
        return self

    def fixed(self, value: Any) -> Tensor:
        """A weight or number in this precision."""
        return torch.as_tensor(value, device=self.low.device).to(self.low.dtype)

    def point(self, value: Any) -> Self:
        """A weight or number as an interval of no width."""
        number = self.fixed(value)
        return self.between(number, number)

    @property
    def whence(self) -> Affine | None:
        """Of which linear layer it is the output, unless it has been changed in place since."""
        return None if self.low._version else self.affine  # noqa: SLF001 - autograd's own count of such changes

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


def pair_leads(logits: Ends, classes: Tensor) -> Tensor:
    """At least how far the logits of some classes (rows, some) lie above each class's, (rows, some, classes).

    Through the last linear layer the difference of two weights is taken before its bound: what both read alike cancels.
    """
    affine = logits.whence
    if affine is None:
        return logits.low.gather(1, classes)[:, :, None] - logits.high[:, None, :]
    x, weight, bias = affine.inputs, affine.weight, affine.bias
    difference = weight[classes][:, :, None, :] - weight[None, None]
    middle = (difference * x.centre[:, None, None]).sum(dim=3)
    reach = (difference.abs() * x.radius[:, None, None]).sum(dim=3)
    size = x.most @ weight.abs().T
    if bias is not None:
        middle, size = middle + bias[classes][:, :, None] - bias, size + bias.abs()
    error = (weight.shape[1] + 2) * logits.unit * (size.gather(1, classes)[:, :, None] + size[:, None, :])
    return middle - reach - error
