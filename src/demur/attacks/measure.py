"""The last word on what an attack did: distances, box, ball and class of the points that were kept."""

import torch
from torch import Tensor

from demur.attacks.balls import length
from demur.attacks.ledger import Ledger
from demur.attacks.outcome import Outcome, Trouble
from demur.attacks.walk import Norm
from demur.shapes import Flags, Images, Logits, Scores

_ROUNDING = 1e-6
"""Float32 rounding of x + eps at the edge of a ball, in pixel fractions."""


def measured(ledger: Ledger, clean: Logits, eps: Scores) -> Outcome:
    """Measure the kept points; what broke the rules or cannot be confirmed goes back to its clean image.

    Args:
        ledger: the books of the run, closed with this.
        clean: what the model answers to the clean images.
        eps: the radius of each row's ball, infinite where there is none.
    """
    everyone = torch.arange(len(ledger.x), device=ledger.x.device)
    outside = ~inside(ledger.x, ledger.clean, eps, ledger.norm)
    claimed = (ledger.step >= 0) & ~outside & (ledger.keep != "worst")
    unconfirmed = claimed & ~_stands(ledger, everyone)
    back = outside | unconfirmed
    ledger.troubles[outside] |= int(Trouble.OUTSIDE)
    ledger.troubles[unconfirmed] |= int(Trouble.UNCONFIRMED)
    x = torch.where(back[:, None, None, None], ledger.clean, ledger.x)
    logits = torch.where(back[:, None], clean, ledger.logits)
    return Outcome(
        x=x,
        logits=logits,
        fooled=ledger.reached(logits, everyone),
        linf=length(x - ledger.clean, "linf"),
        l2=length(x - ledger.clean, "l2"),
        l1=length(x - ledger.clean, "l1"),
        closest=ledger.closest,
        step=ledger.step,
        loss_start=ledger.loss_start,
        loss_kept=ledger.loss(logits, everyone).float(),
        forwards=ledger.forwards,
        backwards=ledger.backwards,
        troubles=ledger.troubles,
        trace=ledger.trace,
    )


def inside(x: Images, origin: Images, eps: Scores, norm: Norm) -> Flags:
    """Rows that are finite, in the unit box and in the ball round their origin, but for rounding."""
    flat = x.flatten(1)
    box = flat.isfinite().all(dim=1) & (flat.amin(dim=1) >= 0) & (flat.amax(dim=1) <= 1)
    slack = _ROUNDING if norm == "linf" else _ROUNDING * flat.shape[1] ** 0.5
    return box & (length(x - origin, norm) <= eps + slack)


def _stands(ledger: Ledger, everyone: Tensor) -> Flags:
    """Which rows succeed at their kept points; those that do by little are asked again in float64."""
    goal = ledger.goal
    stands = ledger.reached(ledger.logits, everyone)
    close = ledger.objective.near(ledger.logits, ledger.y, goal) & (ledger.forwards > 1) & ~ledger.settled
    ids = close.nonzero().squeeze(1)
    if len(ids):
        ledger.forwards[ids] += 1
        aim = None if goal is None else goal[ids]
        stands[ids] = ledger.objective.confirmed(ledger.x[ids], ledger.y[ids], aim)
    return stands
