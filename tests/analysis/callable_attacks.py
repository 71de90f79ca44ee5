"""Attacks from elsewhere, as a plan names them."""

import torch


def ascent(model, x, y):
    """One step along the sign of the gradient; it fails on a short batch and gives back class 1."""
    if len(y) < 64:
        raise RuntimeError("too few")
    leaf = x.clone().requires_grad_()
    torch.nn.functional.cross_entropy(model(leaf), y, reduction="sum").backward()
    found = (x + 0.05 * leaf.grad.sign()).clamp(0, 1)
    model(found)
    return torch.where((y == 1)[:, None, None, None], x, found)


def brightened(model, x, y):
    """Every pixel a little brighter."""
    return (x + 0.03).clamp(0, 1)
