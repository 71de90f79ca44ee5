"""Signals of how the answer holds over several passes: over harmless views, and over nets thinned by dropout."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn.functional import pad

from demur.errors import InputError, unknown
from demur.evidence import Evidence
from demur.shapes import Images, Scores
from demur.signals import Needs
from demur.signals.softmax_scores import missing, softmax_entropy


@dataclass(frozen=True, kw_only=True)
class TTA:
    """One minus the mean probability of the answer over harmless views: high when one of them changes the answer.

    The views are the image itself, moved by `move` pixels up, down, left and right with its edge repeated, and, with
    `mirror`, mirrored; turn `mirror` off where left and right matter, as in writing.

    Ayhan & Berens (2018), "Test-time data augmentation for estimation of heteroscedastic aleatoric uncertainty in deep
    neural networks".
    """

    unit: ClassVar[str] = "probability"

    move: int = 1
    mirror: bool = True

    def __post_init__(self) -> None:
        if self.move < 1:
            raise InputError(f"tta: `move` must be at least 1 pixel; got {self.move}.")

    @property
    def needs(self) -> Needs:
        return Needs(passes=4.0 + self.mirror)

    def __call__(self, evidence: Evidence) -> Scores:
        answer = evidence.logits.argmax(dim=1)
        logits = [evidence.logits, *(evidence.logits_of(view) for view in self._views(evidence.images))]
        return torch.stack([missing(z.double(), answer) for z in logits]).mean(dim=0)

    def _views(self, x: Images) -> Iterator[Images]:
        height, width = x.shape[2:]
        wide = pad(x, (self.move,) * 4, mode="replicate")
        for down, right in ((0, 1), (2, 1), (1, 0), (1, 2)):
            top, left = down * self.move, right * self.move
            yield wide[:, :, top : top + height, left : left + width]
        if self.mirror:
            yield x.flip(3)


_SCORES = ("entropy", "mutual_information")


@dataclass(frozen=True, kw_only=True)
class MCDropout:
    """Entropy of the mean softmax over `n` passes with dropout: high when thinned nets are unsure or disagree.

    With `score` = "mutual_information" the mean entropy of the passes is subtracted, which leaves how far they
    disagree. Only dropout layers are random; each image draws from its own key. A net without any is refused.

    Gal & Ghahramani (2016), arXiv:1506.02142.
    """

    unit: ClassVar[str] = "nats"

    n: int = 20
    score: str = "entropy"

    def __post_init__(self) -> None:
        if self.n < 2:
            raise InputError(f"mc_dropout: `n` must be at least 2 passes; got {self.n}.")
        if self.score not in _SCORES:
            raise unknown("score of mc_dropout", self.score, _SCORES)

    @property
    def needs(self) -> Needs:
        return Needs(passes=float(self.n))

    def __call__(self, evidence: Evidence) -> Scores:
        log_p = evidence.dropout_logits(self.n, evidence.keys).double().log_softmax(dim=2)
        total = softmax_entropy(log_p.logsumexp(dim=0) - math.log(self.n))
        return total if self.score == "entropy" else total - softmax_entropy(log_p).mean(dim=0)
