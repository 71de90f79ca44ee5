"""Randomness for training: drawn from a seed, leaving the global stream as it was."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def seeded(seed: int) -> Iterator[torch.Generator]:
    """A generator on `seed`; layers that draw from the global stream (initial weights, dropout) repeat inside."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)


def fresh(factory: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A new module whose initial weights depend on `seed` alone."""
    with seeded(seed):
        return factory()
