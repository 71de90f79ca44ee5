"""Weights that take no gradient for a while."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """No parameter requires a gradient inside; those that did do again afterwards, also after an exception.

    It may be nested: an inner one finds nothing left to freeze.
    """
    thawed = [parameter for parameter in parameters if parameter.requires_grad]
    try:
        for parameter in thawed:
            parameter.requires_grad = False
        yield
    finally:
        for parameter in thawed:
            parameter.requires_grad = True
