"""The answers to slightly moved and mirrored views of an image."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn.functional import pad

from demur.errors import InputError
from demur.evidence import Evidence
from demur.shapes import Images, Scores
from demur.signals import Needs
from demur.signals.probabilities import missing


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
