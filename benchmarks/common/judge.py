"""What changed images are worth, judged alike whoever made them."""

import torch
from torch import Tensor, nn

_ROUNDING = 1e-6


@torch.no_grad()
def wrong(model: nn.Module, found: Tensor, y: Tensor, batch: int = 128) -> Tensor:
    """Rows that the model gets wrong."""
    return torch.cat([model(part).argmax(dim=1) for part in found.split(batch)]) != y


def broken(model: nn.Module, x: Tensor, found: Tensor, y: Tensor, eps: float) -> Tensor:
    """Rows wrong as they are, or wrong after a change inside the L∞ ball and the unit box."""
    delta = (found - x).flatten(1).abs().amax(dim=1)
    inside = (delta <= eps + _ROUNDING) & (found.flatten(1).amin(dim=1) >= 0) & (found.flatten(1).amax(dim=1) <= 1)
    return wrong(model, x, y) | (wrong(model, found, y) & inside)


def distances(model: nn.Module, x: Tensor, found: Tensor, y: Tensor, order: float) -> Tensor:
    """Length of each change that makes the model wrong: infinite where none does, 0 where it was wrong before."""
    length = torch.linalg.vector_norm((found - x).flatten(1), ord=order, dim=1)
    far = torch.where(wrong(model, found, y), length, torch.inf)
    return torch.where(wrong(model, x, y), 0.0, far)
