"""Randomised smoothing: what a classifier mostly answers under normal noise, and how far that is proven to stay.

Cohen et al. (2019), arXiv:1902.02918. Nothing but answers is asked of the classifier.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite
from typing import TypeAlias

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional

from demur.errors import InputError
from demur.metrics.smoothed_radii import MAJORITY, smoothed_radius, tie_chance
from demur.randomness import Keys
from demur.shapes import Flags, Images, Labels, Logits, Scores

ABSTAINED = -1
"""The class of an image that is not answered."""

_BLOCK = 16
"""Draws of an image that come from one stream of random bits, whatever the batch."""

Counts: TypeAlias = Int[Tensor, "rows classes"]
Answers: TypeAlias = Callable[[Images], Logits]
"""Images, whose noise may leave [0, 1], to logits; a `BoundClassifier`, or anything that answers."""


@dataclass(frozen=True, eq=False)
class SmoothedVotes:
    """What noisy copies of some images were called.

    Every radius holds for its image with probability 1 − alpha over the draws, and is 0 where nothing is proven.

    Attributes:
        smoothing: how they were drawn.
        selected: the class with the most votes of the selection, whose draws are no part of `counts`.
        counts: votes of the `samples` draws (rows, classes); fewer in all where an answer was not finite.
    """

    smoothing: "Smoothing"
    selected: Labels
    counts: Counts

    @property
    def radii(self) -> Scores:
        """Up to what change in L2 the smoothed classifier answers `selected`: σ Φ⁻¹(lower bound of its share)."""
        return self._radius(self.of(self.selected), MAJORITY)

    def answers(self, share: float = MAJORITY) -> Labels:
        """What is answered where an answer needs more than `share` of all noise; −1 where no class is shown to have it.

        It is another than that of a guard who knew the shares, where that one abstains too, with probability at most
        alpha.
        """
        enough = self._radius(self.of(self.selected), share) > 0
        return self.selected.where(enough.to(self.selected.device), ABSTAINED)

    def right_radii(self, y: Labels, share: float = MAJORITY) -> Scores:
        """Up to what change in L2 the label is answered, where an answer needs more than `share` of all noise.

        0 where the label is not the class that was selected.
        """
        return self._radius(self.of(y), share).where((self.selected == y).cpu(), 0.0)

    def right_or_declined_radii(self, y: Labels, share: float = MAJORITY) -> Scores:
        """Up to what change in L2 no wrong answer is given, where an answer needs more than `share` of all noise.

        A wrong class has at most what the label has not, so it is answered only where the label has less than
        1 − `share`.
        """
        return self._radius(self.of(y), 1 - share)

    def of(self, classes: Labels) -> Tensor:
        """The votes (rows,) for one class of each image."""
        return self.counts.gather(1, classes[:, None]).squeeze(1)

    def _radius(self, counts: Tensor, share: float) -> Scores:
        how = self.smoothing
        found = smoothed_radius(counts.cpu().numpy(), how.samples, sigma=how.sigma, alpha=how.alpha, share=share)
        return torch.from_numpy(found).clamp(min=0)


@dataclass(frozen=True, kw_only=True)
class Smoothing:
    """The classifier that answers what another one mostly answers to an image with normal noise in every pixel.

    The noise is not clipped. What is proven of it holds for the smoothed classifier, not for the one inside.

    Attributes:
        sigma: standard deviation of the noise, a fraction of the [0, 1] pixel range.
        alpha: the chance that what is proven of one image is not true.
        selection: draws by which a class is selected.
        samples: draws by which its share is bounded.
    """

    sigma: float
    alpha: float = 0.001
    selection: int = 100
    samples: int = 1000

    def __post_init__(self) -> None:
        if not (isfinite(self.sigma) and self.sigma > 0):
            raise InputError(
                f"`sigma` of a smoothing must be above 0, a fraction of the pixel range; got {self.sigma}. Try 0.25."
            )
        if not 0 < self.alpha < 1:
            raise InputError(f"`alpha` of a smoothing must lie in (0, 1); got {self.alpha}. Try 0.001.")
        for name, count in (("selection", self.selection), ("samples", self.samples)):
            if count < 1:
                raise InputError(f"`{name}` of a smoothing counts draws of noise and must be at least 1; got {count}.")
        if self.reach() <= 0:
            raise InputError(
                f"`samples` of a smoothing must be enough to show a majority at `alpha` = {self.alpha:g}; "
                f"{self.samples} can show none though all agree. Draw 1000."
            )

    def reach(self, share: float = MAJORITY) -> float:
        """The largest radius that can be proven, where all draws agree; `share` as of `smoothed_radius`."""
        n = self.samples
        return float(smoothed_radius(n, n, sigma=self.sigma, alpha=self.alpha, share=share))

    def certify(self, model: Answers, x: Images, keys: Keys, *, batch: int = 128) -> SmoothedVotes:
        """Select a class of each image by some draws and bound its share by others: the paper's CERTIFY.

        Args:
            model: anything that answers images with logits; no gradient is taken.
            x: images in [0, 1].
            keys: one for each image; the draws depend on them alone, not on the batch.
            batch: noisy images in one pass.
        """
        selected = self.votes(model, x, keys, "selection", self.selection, batch=batch).argmax(dim=1)
        return SmoothedVotes(self, selected, self.votes(model, x, keys, "estimation", self.samples, batch=batch))

    def predict(self, model: Answers, x: Images, keys: Keys, *, batch: int = 128) -> Labels:
        """The answer to each image, −1 where the first two classes cannot be told apart: the paper's PREDICT.

        An answer is another than the smoothed classifier's with probability at most alpha.
        """
        counts = self.votes(model, x, keys, "prediction", self.samples, batch=batch)
        top = functional.pad(counts, (0, 1)).topk(2, dim=1)
        close = tie_chance(top.values[:, 0].cpu().numpy(), top.values[:, 1].cpu().numpy()) > self.alpha
        return top.indices[:, 0].masked_fill(torch.from_numpy(close).to(x.device), ABSTAINED)

    def votes(self, model: Answers, x: Images, keys: Keys, stage: str, n: int, *, batch: int = 128) -> Counts:
        """How often each class (rows, classes) is the answer to `n` noisy copies of each image.

        An answer that is not finite is a vote for nobody. Draws of one `stage` are independent of those of another.
        """
        found, size = [], max(1, batch // _BLOCK)
        for start in range(0, len(x), size):
            own = x[start : start + size]
            dice = keys.rows(range(start, start + len(own)))
            found.append(_added(self._block_votes(model, own, dice, stage, n, batch)))
        return torch.cat(found) if found else torch.zeros(0, 1, dtype=torch.int64, device=x.device)

    def _block_votes(self, model: Answers, x: Images, keys: Keys, stage: str, n: int, batch: int) -> Iterator[Counts]:
        """Votes of one block of draws after the other."""
        like = x[:, None].expand(-1, _BLOCK, *x.shape[1:])
        for block, start in enumerate(range(0, n, _BLOCK)):
            noise = keys.normal(like, f"smoothing {stage} {block}")[:, : n - start]
            noisy = (x[:, None] + self.sigma * noise).flatten(0, 1)
            votes = _counted(model, noisy, batch)
            yield votes.view(len(x), -1, votes.shape[1]).sum(dim=1)


def _added(blocks: Iterator[Counts]) -> Counts:
    total = next(blocks)
    for each in blocks:
        total += each
    return total


def _counted(model: Answers, noisy: Images, batch: int) -> Counts:
    """One vote (images, classes) of each image."""
    with torch.no_grad():
        logits = torch.cat([model(part) for part in torch.split(noisy, batch)])
    finite: Flags = logits.isfinite().all(dim=1)
    chosen = functional.one_hot(logits.nan_to_num().argmax(dim=1), logits.shape[1])
    return chosen * finite[:, None]
