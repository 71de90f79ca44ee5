"""Whether an attack of the plan does what attacks must do.

Carlini et al. (2019), arXiv:1902.06705; Pintor et al. (2022), arXiv:2106.09947.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from demur.attacks.fgsm import FGSM
from demur.attacks.walk import Attack
from demur.audit.trials.lab import Finding, Lab, changed, widened
from demur.audit.trials.lead import starts_at_random
from demur.classifier import Classifier
from demur.registry import build
from demur.shapes import Flags

_DRAWS = 20
_QUERIES = 100
_TAIL = 10
_RISING = 0.05
"""Share of the loss's whole rise that may fall on the last steps of an optimisation that has come to its end."""


def attacks(lab: Lab, lead: Attack, *, blind: bool, surrogate: Classifier | None = None) -> Iterator[Finding]:
    """The attack is watched, given more, given everything, and set against ones that should be weaker.

    Args:
        lab: where.
        lead: an iterated attack in a ball.
        blind: whether to try attacks that see no gradient, where the plan itself has none.
        surrogate: a similar model whose points might carry over.
    """
    walk = lab.attacked(lead, keep="worst", trace=True)
    fell, trace = walk.step >= 0, walk.trace[:, : lead.steps]
    standing = (~fell).nonzero().squeeze(1)
    yield lab.found("flat", (walk.step != 0) & (trace.nan_to_num(-torch.inf).amax(dim=1) <= trace[:, 0]))
    yield lab.found("unfinished", ~fell & _still_rising(trace))
    assert lead.eps is not None
    yield lab.fell("one_step", FGSM(eps=lead.eps, norm=lead.norm, loss=lead.loss), standing)
    ball = f"eps={lead.eps!r}, norm={lead.norm!r}"
    yield lab.fell("noise", build("attack", f"noise({ball}, steps={_DRAWS})"), standing)
    yield lab.fell("more_steps", changed(lead, steps=2 * lead.steps), standing)
    if starts_at_random(lead):
        yield lab.fell("more_restarts", lead, standing, draw="again")
    if blind:
        yield lab.fell("blind", build("attack", f"square({ball}, steps={_QUERIES})"), standing)
    if surrogate is not None:
        yield lab.found("transfer", _carried_over(lab, lead, surrogate, standing))
    everything = lab.attacked(widened(lead, lab.x.shape[1:]))
    yield lab.found("unbounded", ~everything.fooled)


def _still_rising(trace: Tensor) -> Flags:
    """Rows whose best loss so far made more than a twentieth of its rise in the last ten steps, a quarter of few."""
    best = trace.nan_to_num(-torch.inf).cummax(dim=1).values
    tail = min(_TAIL, max(1, trace.shape[1] // 4))
    whole = best[:, -1] - best[:, 0]
    return (whole > 0) & (best[:, -1] - best[:, -1 - tail] > _RISING * whole)


def _carried_over(lab: Lab, lead: Attack, surrogate: Classifier, standing: Tensor) -> Flags:
    """Rows that stand against the attack itself and fall to its worst points on another model."""
    flags = torch.zeros(len(lab), dtype=torch.bool, device=lab.x.device)
    if len(standing):
        points = lab.attacked(lead, standing, keep="worst", classifier=surrogate).x
        flags[standing] = lab.logits(points).argmax(dim=1) != lab.y[standing]
    return flags
