"""Objectives an attack climbs: one value per row, higher = nearer to a wrong answer."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch.nn import functional

from demur.errors import InputError, unknown
from demur.shapes import Labels, Logits, Scores


def cross_entropy(logits: Logits, y: Labels) -> Scores:
    """−log p_y. In float64, where the gradient of a confident answer does not underflow to zero."""
    return functional.cross_entropy(logits.double(), y, reduction="none")


def margin(logits: Logits, y: Labels) -> Scores:
    """Largest wrong logit minus the right one: positive exactly where the answer is wrong.

    Carlini & Wagner (2017), arXiv:1608.04644.
    """
    right = logits.gather(1, y[:, None]).squeeze(1)
    wrong = logits.scatter(1, y[:, None], -torch.inf).amax(dim=1)
    return wrong - right


LOSSES: Mapping[str, Callable[[Logits, Labels], Scores]] = MappingProxyType(
    {"cross_entropy": cross_entropy, "margin": margin}
)


def check_loss(name: str) -> None:
    """Refuse a loss outside `LOSSES`."""
    if name not in LOSSES:
        raise unknown("loss", name, LOSSES)


def check_eps(eps: float) -> None:
    """Refuse an eps outside (0, 1], with the usual slip named."""
    if not 0 < eps <= 1:
        hint = f" Did you mean {eps:g}/255?" if eps > 1 else ""
        raise InputError(f"`eps` must lie in (0, 1], a fraction of the pixel range; got {eps:g}.{hint}")


def check_steps(steps: int) -> None:
    """Refuse fewer than one step."""
    if steps < 1:
        raise InputError(f"`steps` must be at least 1; got {steps}.")
