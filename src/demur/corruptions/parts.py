"""A batch a few images at a time."""

from collections.abc import Callable

import torch

from demur.randomness import Keys
from demur.shapes import Images

_VALUES = 2**18


def in_parts(corrupt: Callable[[Images, Keys], Images], x: Images, keys: Keys) -> Images:
    """The corrupted images, made few enough at a time for what lies between input and output to stay in the caches.

    A row of 224 pixels goes alone, rows of 32 pixels go by 85; a row's bytes must not depend on it.
    """
    count = max(1, _VALUES // max(x[:1].numel(), 1))
    out = torch.empty_like(x)
    for first in range(0, len(x), count):
        part = slice(first, first + count)
        out[part] = corrupt(x[part], keys.rows(range(len(x))[part]))
    return out
