"""How much the answer changes when the image loses detail."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch

from demur.errors import InputError
from demur.evidence import Evidence
from demur.filters.denoising import jpeg, median_filter, non_local_means
from demur.filters.sampling import resample
from demur.shapes import Images, Scores
from demur.signals import Needs

Squeezer = Callable[[Images], Images]


@dataclass(frozen=True, kw_only=True)
class FeatureSqueezing:
    """Largest change of the softmax when the image loses detail: high when fine detail decides the answer.

    max over squeezers s of ‖p(x) − p(s(x))‖₁, from 0 to 2. A squeezer whose field is 0 is left out; the defaults are
    the authors' for CIFAR-10, and theirs for ImageNet have `strength` 4/255 and `search` 11. Each costs a pass. Where
    autograd follows it, bit depth, non-local means and JPEG pass a gradient on as if they changed nothing (Athalye et
    al. (2018), arXiv:1802.00420).

    Attributes:
        bits: depth of the colours, 1 to 8.
        median: side of the square whose median replaces a pixel.
        strength: of non-local means over patches of 3 pixels, in pixel values of [0, 1].
        search: side of the square in which non-local means look for patches, odd.
        resample: the size to shrink to and back from, as a share of each side.
        jpeg: quality of JPEG, 1 to 95.

    Xu et al. (2018), arXiv:1704.01155.
    """

    unit: ClassVar[str] = "L1 distance of probabilities"
    made_of: ClassVar[str] = "squeezers"

    bits: int = 5
    median: int = 2
    strength: float = 2 / 255
    search: int = 13
    resample: float = 0.0
    jpeg: int = 0

    def __post_init__(self) -> None:
        if not self.squeezers:
            raise InputError("feature_squeezing: at least one squeezer is needed; all are 0. Set bits, for example.")
        for field, within, rule in (
            ("bits", 0 <= self.bits <= 8, "0 to 8"),
            ("median", self.median >= 0, "0 or a number of pixels"),
            ("strength", 0 <= self.strength <= 1, "0 to 1 in pixel values, such as 2/255"),
            ("search", self.search % 2 == 1, "an odd number of pixels"),
            ("resample", 0 <= self.resample < 1, "0 to below 1"),
            ("jpeg", 0 <= self.jpeg <= 95, "0 to 95"),
        ):
            if not within:
                raise InputError(f"feature_squeezing: `{field}` must be {rule}; got {getattr(self, field)}.")

    @property
    def needs(self) -> Needs:
        """One pass for each squeezer."""
        return Needs(passes=len(self.squeezers))

    @property
    def squeezers(self) -> Mapping[str, Squeezer]:
        """The squeezers in use, by name."""
        return dict(self._squeezers())

    def __call__(self, evidence: Evidence) -> Scores:
        return self.of_parts(self.parts(evidence), evidence)

    def of_parts(self, parts: Mapping[str, Scores], evidence: Evidence) -> Scores:  # noqa: ARG002 — others read the rows
        """The largest change."""
        return torch.stack(list(parts.values())).amax(dim=0)

    def parts(self, evidence: Evidence) -> Mapping[str, Scores]:
        """The change that each squeezer causes."""
        p = evidence.logits.double().softmax(dim=1)
        return {
            name: (p - evidence.logits_of(squeeze(evidence.images)).double().softmax(dim=1)).abs().sum(dim=1)
            for name, squeeze in self.squeezers.items()
        }

    def _squeezers(self) -> Iterator[tuple[str, Squeezer]]:
        if self.bits:
            yield "bits", _Straight(partial(bit_depth, bits=self.bits))
        if self.median:
            yield "median", partial(median_filter, size=self.median)
        if self.strength:
            yield "strength", _Straight(partial(non_local_means, strength=self.strength, search=self.search))
        if self.resample:
            yield "resample", partial(resample, scale=self.resample)
        if self.jpeg:
            yield "jpeg", _Straight(partial(jpeg, quality=self.jpeg))


@dataclass(frozen=True)
class _Straight:
    """A squeezer through which a gradient passes as if it changed nothing."""

    squeezer: Squeezer

    def __call__(self, x: Images) -> Images:
        if not x.requires_grad:
            return self.squeezer(x)
        return self.squeezer(x.detach()) + (x - x.detach())


def bit_depth(x: Images, bits: int) -> Images:
    """The images in colours of so many bits per channel: 2^bits levels from 0 to 1."""
    steps = 2**bits - 1
    return (x * steps).round() / steps
