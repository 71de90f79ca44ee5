"""Whether a model only looks robust: what stands against the usual attack, and what others of its size find there."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from demur.attacks.core.attack import Attack
from demur.attacks.pgd import PGD
from demur.attacks.square import Square
from demur.classifier import BoundClassifier
from demur.pipeline.sanity.trial_sample import TrialSample, with_fields, with_larger_eps
from demur.shapes import Flags

_QUERIES = 300


@dataclass(frozen=True, kw_only=True)
class Breach:
    """An attack, in words that follow "fall to", and how many it fools of the images that stood."""

    attack: str
    count: int


@dataclass(frozen=True, kw_only=True)
class Mask:
    """What PGD finds through the softmax in single precision, as it is usually written, and what lies behind.

    Attributes:
        eps: the size of all these attacks.
        norm: in which it is measured.
        blank: images whose gradient through the softmax is zero everywhere; where there is none, no attack was made.
        stood: images that stand against the usual attack.
        grey: images that stand against it in a ball that holds a grey image.
        exposed: those of them that any other one fools.
        breaches: the others, one by one.
        of: the images tried.
    """

    eps: float
    norm: str
    blank: int
    stood: int = 0
    grey: int = 0
    exposed: int = 0
    breaches: tuple[Breach, ...] = ()
    of: int


def mask_of(sample: TrialSample, lead: Attack, surrogate: BoundClassifier | None) -> Mask:
    """The usual attack, and others on the images that stand; a sound model costs one pass to and fro of each image.

    Args:
        sample: where.
        lead: an attack in a ball, of which these take size and steps.
        surrogate: a similar model whose points might carry over.
    """
    assert lead.eps is not None
    assert lead.norm == "linf" or lead.norm == "l2"
    usual = PGD(eps=lead.eps, norm=lead.norm, steps=lead.steps, loss="softmax")
    blank = int((sample.gradient(usual.loss).flatten(1).abs().amax(dim=1) == 0).sum())
    bare = Mask(eps=lead.eps, norm=lead.norm, blank=blank, of=len(sample))
    if not blank:
        return bare
    standing = (~sample.attacked(usual).fooled).nonzero().squeeze(1)
    if not len(standing):
        return bare
    found = dict(_fooled(sample, usual, surrogate, standing))
    return Mask(
        eps=bare.eps,
        norm=bare.norm,
        blank=blank,
        stood=len(standing),
        grey=int((~sample.attacked(with_larger_eps(usual, sample.x.shape[1:])).fooled).sum()),
        exposed=int(torch.stack([*found.values()]).any(dim=0).sum()),
        breaches=tuple(Breach(attack=words, count=int(flags.sum())) for words, flags in found.items()),
        of=bare.of,
    )


def _fooled(
    sample: TrialSample, usual: PGD, surrogate: BoundClassifier | None, standing: Tensor
) -> Iterator[tuple[str, Flags]]:
    """Other attacks on the images that stand, and which of these each fools."""
    on_logits = with_fields(usual, loss="margin")
    yield "the same in double precision", sample.attacked(with_fields(usual, loss="cross_entropy"), standing).fooled
    yield "the same on the logits", sample.attacked(on_logits, standing).fooled
    if surrogate is not None:
        points = sample.attacked(on_logits, standing, keep="worst", classifier=surrogate).x
        yield "points made on another model", sample.logits(points).argmax(dim=1) != sample.y[standing]
    blind = Square(eps=usual.eps, norm=usual.norm, steps=_QUERIES)
    yield f"{_QUERIES} queries without a gradient (Square)", sample.attacked(blind, standing).fooled
