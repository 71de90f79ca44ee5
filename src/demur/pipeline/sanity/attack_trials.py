"""Whether an attack of the plan does what attacks must do."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from demur.adapters import load_model
from demur.attacks.core.attack import Attack
from demur.attacks.gradient_sign import FGSM
from demur.attacks.noise import Noise
from demur.attacks.pgd import PGD
from demur.attacks.square import Square
from demur.classifier import BoundClassifier
from demur.classifier.devices import on_device
from demur.errors import InputError
from demur.pipeline.plan.conditions import Condition
from demur.pipeline.sanity.trial_sample import Finding, TrialSample, with_fields, with_larger_eps
from demur.shapes import Flags

_STEPS = 20


def lead_of(found: Sequence[Condition]) -> Attack | None:
    """The longest iterated attack in a ball, at the reported size where there is one.

    The reported size is that of the attack that keeps its worst point, of an ensemble, or of the first in a ball. An
    ensemble lends its own attack where the plan has no other; PGD stands in where there is none. None without a size.
    """
    untargeted = (c for c in found if c.attack is not None and c.target is None)
    bounded = [c for c in untargeted if c.severity > 0 and c.norm in {"linf", "l2"}]
    if not bounded:
        return None
    reported = min(bounded, key=lambda c: (c.keep != "worst", not (c.attack and c.attack.stages)))
    plain = [attack for c in bounded for attack in _iterated(c.attack)]
    iterated = plain or [attack for c in bounded for attack in _first_stage(c.attack)]
    here = [a for a in iterated if (a.eps, a.norm) == (reported.severity, reported.norm)]
    if not iterated:
        return PGD(eps=reported.severity, norm=cast(Any, reported.norm), steps=_STEPS)
    return max(here or iterated, key=lambda attack: attack.steps)


def _iterated(attack: Attack | None) -> Iterator[Attack]:
    """An attack that follows gradients in a ball step by step."""
    if attack is not None and attack.ascent == "many steps":
        yield attack


def _first_stage(attack: Attack | None) -> Iterator[Attack]:
    """The first such attack of an ensemble."""
    if attack is not None:
        yield from [found for stage in attack.stages for found in _iterated(stage.attack)][:1]


def attacks_of(found: Sequence[Condition]) -> Iterator[Attack]:
    """The attacks of conditions, and those that ensembles are made of."""
    for attack in (c.attack for c in found if c.attack is not None):
        yield attack
        yield from (stage.attack for stage in attack.stages)


def reach_findings(found: Sequence[Condition]) -> Iterator[Finding]:
    """Attacks whose step is so short that all of their steps together do not lead to the edge of their ball."""
    lengths = [(c, c.attack.path_length) for c in found if c.attack is not None]
    stepped = [(c, length) for c, length in lengths if length is not None]
    short = [c.name for c, length in stepped if length < c.severity * (1 - 1e-9)]
    if stepped:
        yield Finding("reach", tuple(short), len(stepped))


_DRAWS = 20
_QUERIES = 100
_TAIL = 10
_RISING = 0.05
"""Share of the loss's whole rise that may fall on the last steps of an optimisation that has come to its end."""


def attack_findings(
    sample: TrialSample, lead: Attack, *, blind: bool, surrogate: BoundClassifier | None = None
) -> Iterator[Finding]:
    """The attack is watched, given more, given everything, and set against ones that should be weaker.

    Args:
        sample: where.
        lead: an iterated attack in a ball.
        blind: whether to try attacks that see no gradient, where the plan itself has none.
        surrogate: a similar model whose points might carry over.
    """
    traced = sample.attacked(lead, keep="worst", trace=True)
    fell, trace = traced.step >= 0, traced.trace[:, : lead.steps]
    standing = (~fell).nonzero().squeeze(1)
    yield sample.found("flat", (traced.step != 0) & (trace.nan_to_num(-torch.inf).amax(dim=1) <= trace[:, 0]))
    yield sample.found("unfinished", ~fell & _still_rising(trace))
    assert lead.eps is not None
    yield sample.fell("one_step", FGSM(eps=lead.eps, norm=lead.norm, loss=lead.loss), standing)
    ball: dict[str, Any] = {"eps": lead.eps, "norm": lead.norm}
    yield sample.fell("noise", Noise(**ball, steps=_DRAWS), standing)
    yield sample.fell("more_steps", with_fields(lead, steps=2 * lead.steps), standing)
    if lead.random_start:
        yield sample.fell("more_restarts", lead, standing, draw="again")
    if blind:
        yield sample.fell("blind", Square(**ball, steps=_QUERIES), standing)
    if surrogate is not None:
        yield sample.found("transfer", _carried_over(sample, lead, surrogate, standing))
    everything = sample.attacked(with_larger_eps(lead, sample.x.shape[1:]))
    yield sample.found("unbounded", ~everything.fooled)


def _still_rising(trace: Tensor) -> Flags:
    """Rows whose best loss so far made more than a twentieth of its rise in the last ten steps, a quarter of few."""
    best = trace.nan_to_num(-torch.inf).cummax(dim=1).values
    tail = min(_TAIL, max(1, trace.shape[1] // 4))
    whole = best[:, -1] - best[:, 0]
    return (whole > 0) & (best[:, -1] - best[:, -1 - tail] > _RISING * whole)


def _carried_over(sample: TrialSample, lead: Attack, surrogate: BoundClassifier, standing: Tensor) -> Flags:
    """Rows that stand against the attack itself and fall to its worst points on another model."""
    flags = torch.zeros(len(sample), dtype=torch.bool, device=sample.x.device)
    if len(standing):
        points = sample.attacked(lead, standing, keep="worst", classifier=surrogate).x
        flags[standing] = sample.logits(points).argmax(dim=1) != sample.y[standing]
    return flags


def surrogate_of(
    address: str | None, classifier: BoundClassifier, found: Sequence[Condition]
) -> BoundClassifier | None:
    """The model at an address, where the classifier is; None without an address.

    Raises:
        AddressError, ModelError: it cannot be had.
        InputError: it answers another question or is the classifier itself, or no attack of the plan could borrow.
    """
    if address is None:
        return None
    if lead_of(found) is None:
        raise InputError(
            f"`conditions.surrogate` lends the points of an attack in a ball of L∞ or L2, and the plan has none; got "
            f"{address!r}. Add one, such as pgd(eps=2/255), or leave the surrogate out."
        )
    other = load_model(address, classes=classifier.classes, input_shape=classifier.input_shape)
    if (other.classes, other.input_shape) != (classifier.classes, classifier.input_shape):
        raise InputError(
            f"a surrogate must know the same {len(classifier.classes)} classes from images of the same shape "
            f"{classifier.input_shape}; {address} has {len(other.classes)} classes and reads {other.input_shape}. Name "
            "a model of the same task."
        )
    lent = on_device(other, str(classifier.device))
    if other.sha256 == classifier.sha256 and _answers_alike(lent, classifier):
        raise InputError(
            f"a surrogate must be another model than the one under audit; {address} has the same weights. Name the "
            "model as it was before its defence, or one trained alike."
        )
    return lent


def _answers_alike(one: BoundClassifier, other: BoundClassifier) -> bool:
    """Whether two models with the same weights are one: a defence may lie in what happens to images before these."""
    draw = torch.Generator().manual_seed(0)
    images = torch.rand(_ASKED, *one.input_shape, generator=draw).to(one.device)
    with torch.no_grad():
        return torch.equal(one.logits(images), other.logits(images))


_ASKED = 4
"""Images of noise on which two models with the same weights are compared."""
