"""How the steps of an attack shrink."""

import math

import torch
from torch import Tensor

from demur.shapes import Scores


def cosine(begin: float, end: float, step: Tensor, steps: int) -> Scores:
    """Half a cosine from `begin` at step 0 towards `end`, which it would reach at step `steps`."""
    return end + (begin - end) * (1 + torch.cos(math.pi * step / steps)) / 2
