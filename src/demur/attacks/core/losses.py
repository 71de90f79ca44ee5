"""Objectives an attack climbs: one value per row, higher = nearer to a wrong answer, or to a target class."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch.nn import functional

from demur.errors import unknown
from demur.shapes import Labels, Logits, Scores

Loss: TypeAlias = Callable[[Logits, Labels], Scores]
Targeted: TypeAlias = Callable[[Logits, Labels, Labels], Scores]

_TINY = 1e-12
_FAINT = 2.0**-32
"""The least gradient of cross-entropy: single precision holds it, and beside another loss in a sum it rounds away."""
_SURE, _SUREST = -math.log(_FAINT), 64.0
"""Leads, in nats, from which the gradient and the loss are held up; the loss is 2·10⁻²⁸ at the second."""

_DLR_CLASSES = 3
_TARGETED_DLR_CLASSES = 4


def cross_entropy(logits: Logits, y: Labels) -> Scores:
    """−log p_y, in nats and float64; neither it nor its gradient ever vanishes, however sure the answer.

    Where the right class leads all others together by more than 22 nats (p_y is within 2⁻³² of 1), its gradient is
    that of −lead times 2⁻³²: the direction is exact, the size is held. True to size it would be zero in logits of
    single precision from about 100 nats on, and an attack that climbs it would stand still though the model has a
    gradient. Attacks take its direction alone; beside another loss in a sum it is too small to count, as it was. From
    64 nats on the loss itself, 10⁻²⁸, falls as one over the lead, so that a rise is one in single precision too.
    """
    z = logits.double()
    lead = _claim(z, y) - z.scatter(1, y[:, None], -torch.inf).logsumexp(dim=1)
    return torch.where(lead > _SURE, _sure_loss(lead), functional.cross_entropy(z, y, reduction="none"))


def _sure_loss(lead: Scores) -> Scores:
    """log(1 + exp(−lead)), with its tail and its slope held up."""
    level = lead.detach()
    loss = (-level.clamp(max=_SUREST)).exp().log1p() / (1 + (level - _SUREST).clamp(min=0))
    return loss + _FAINT * (level - lead)


def softmax(logits: Logits, y: Labels) -> Scores:
    """−log p_y of a softmax in single precision, as attacks are usually written.

    Where the answer leads by more than about 100 nats its gradient underflows to zero, though the model has one: what
    stands against it may be masked and not robust. It is there to show that; to break a model take another.

    Carlini & Wagner (2017), arXiv:1608.04644, §VIII.
    """
    shares = logits.float().softmax(dim=1)
    return -_claim(shares, y).clamp(min=torch.finfo(shares.dtype).tiny).log()


def margin(logits: Logits, y: Labels) -> Scores:
    """Largest wrong logit minus the right one: positive exactly where the answer is wrong.

    Carlini & Wagner (2017), arXiv:1608.04644.
    """
    wrong = logits.scatter(1, y[:, None], -torch.inf).amax(dim=1)
    return wrong - _claim(logits, y)


def logit(logits: Logits, y: Labels) -> Scores:
    """Minus the right logit."""
    return -_claim(logits, y)


def dlr(logits: Logits, y: Labels) -> Scores:
    """Difference of logits ratio: the margin over the gap between the first and the third logit, free of scale.

    The margin itself below three classes, where there is no third.

    Croce & Hein (2020), arXiv:2003.01690.
    """
    if logits.shape[1] < _DLR_CLASSES:
        return margin(logits, y)
    z = logits.sort(dim=1, descending=True).values
    return margin(logits, y) / (z[:, 0] - z[:, 2] + _TINY)


def targeted_cross_entropy(logits: Logits, y: Labels, target: Labels) -> Scores:  # noqa: ARG001 - all targeted losses take y
    """Log p_t, in float64."""
    return -cross_entropy(logits, target)


def targeted_softmax(logits: Logits, y: Labels, target: Labels) -> Scores:  # noqa: ARG001 - all targeted losses take y
    """Log p_t of a softmax in single precision."""
    return -softmax(logits, target)


def targeted_margin(logits: Logits, y: Labels, target: Labels) -> Scores:  # noqa: ARG001 - all targeted losses take y
    """The target's logit minus the largest other one: positive exactly where the answer is the target."""
    return -margin(logits, target)


def targeted_logit(logits: Logits, y: Labels, target: Labels) -> Scores:  # noqa: ARG001 - all targeted losses take y
    """The target's logit."""
    return _claim(logits, target)


def targeted_dlr(logits: Logits, y: Labels, target: Labels) -> Scores:
    """The target's logit minus the label's, over the first minus the mean of the third and fourth.

    The targeted margin below four classes.

    Croce & Hein (2020), arXiv:2003.01690.
    """
    if logits.shape[1] < _TARGETED_DLR_CLASSES:
        return targeted_margin(logits, y, target)
    z = logits.sort(dim=1, descending=True).values
    return (_claim(logits, target) - _claim(logits, y)) / (z[:, 0] - (z[:, 2] + z[:, 3]) / 2 + _TINY)


def _claim(logits: Logits, k: Labels) -> Scores:
    return logits.gather(1, k[:, None]).squeeze(1)


LOSSES: Mapping[str, Loss] = MappingProxyType(
    {"cross_entropy": cross_entropy, "dlr": dlr, "logit": logit, "margin": margin, "softmax": softmax}
)

TARGETED: Mapping[str, Targeted] = MappingProxyType(
    {
        "cross_entropy": targeted_cross_entropy,
        "dlr": targeted_dlr,
        "logit": targeted_logit,
        "margin": targeted_margin,
        "softmax": targeted_softmax,
    }
)


def check_loss(name: str) -> None:
    """Refuse a loss outside `LOSSES`."""
    if name not in LOSSES:
        raise unknown("loss", name, LOSSES)
