"""The feature maps that matter to one class more than to others."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from demur.shapes import Features, Flags, Labels, Scores

_COUNT = 10
"""Maps of a class that are told apart."""

_ENOUGH = 10
"""Right answers of a class from which on their spread is measured."""


def top_maps(maps: Features, answers: Labels, wrong: Flags, count: int) -> Tensor:
    """For each class the maps (classes, count) that matter to it most, strongest first; −1 for a class never met.

    They add most to right answers of the class, compared with the mean over classes.
    Wu et al. (2019), arXiv:1910.00387.

    Args:
        maps: what each map adds to the answer, (rows, maps).
        answers: the class answered, (rows,).
        wrong: which answers are wrong, (rows,).
        count: how many maps.
    """
    return _tops(_class_means(maps, answers, ~wrong, int(answers.max()) + 1), count)


def _class_means(maps: Features, answers: Labels, chosen: Flags, classes: int) -> Tensor:
    """What each map adds on average to each class, (classes, maps); NaN for a class without an answer."""
    sums = torch.zeros(classes, maps.shape[1], dtype=maps.dtype).index_add_(0, answers[chosen], maps[chosen])
    counts = torch.bincount(answers[chosen], minlength=classes)
    return torch.where(counts[:, None] > 0, sums / counts[:, None].clamp(min=1), torch.nan)


def _tops(means: Tensor, count: int) -> Tensor:
    strongest = (means - means.nanmean(dim=0)).nan_to_num(-torch.inf).topk(count, dim=1).indices
    return torch.where(means.isnan().all(dim=1)[:, None], -1, strongest)


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassMaps:
    """Each class's own maps, what they add to right and to wrong answers, and how their sum spreads over right ones.

    Attributes:
        top: the maps (classes, maps) of each class, strongest first; −1 for a class never answered rightly.
        right: what each of them adds on average to right answers of the class, in logits; NaN without any.
        wrong: the same of wrong answers.
        middle: the mean (classes,) of what they add together to right answers.
        spread: its standard deviation; NaN below ten right answers.
        answers: how many right and how many wrong answers of the class (classes, 2) all this was measured on.
    """

    top: Tensor
    right: Tensor
    wrong: Tensor
    middle: Tensor
    spread: Tensor
    answers: Tensor

    @classmethod
    def of(cls, maps: Features, answers: Labels, wrong: Flags, classes: int) -> "ClassMaps":
        """From what each map adds to the answers (rows, maps) of the reference."""
        right, failed = (_class_means(maps, answers, flags, classes) for flags in (~wrong, wrong))
        top = _tops(right, min(_COUNT, maps.shape[1]))
        added = maps.gather(1, top.clamp(min=0)[answers]).sum(dim=1)
        parts = [added[(answers == k) & ~wrong] for k in range(classes)]
        enough = [part if len(part) >= _ENOUGH else part.new_full((2,), torch.nan) for part in parts]
        spread = torch.stack([part.std(correction=1) for part in enough])
        return cls(
            top=top,
            right=right.gather(1, top.clamp(min=0)),
            wrong=failed.gather(1, top.clamp(min=0)),
            middle=torch.stack([part.mean() for part in enough]),
            spread=torch.where(spread == 0, 1.0, spread),
            answers=torch.stack([torch.bincount(answers[kind], minlength=classes) for kind in (~wrong, wrong)], dim=1),
        )

    def __call__(self, maps: Features, answers: Labels) -> Scores:
        """What the answered class's maps add, in standard deviations of its right answers; NaN where these are few."""
        added = maps.gather(1, self.top.clamp(min=0)[answers]).sum(dim=1)
        return (added - self.middle[answers]) / self.spread[answers]

    @property
    def facts(self) -> Mapping[str, Any]:
        """The maps of each class, their profiles in logits, null where nothing was measured, and how many were."""
        return {
            "maps": self.top.tolist(),
            "right": [[_or_none(value) for value in row] for row in self.right.tolist()],
            "wrong": [[_or_none(value) for value in row] for row in self.wrong.tolist()],
            "answers": self.answers.tolist(),
        }


def _or_none(value: float) -> float | None:
    return None if value != value else value
