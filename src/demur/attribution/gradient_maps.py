"""Maps from gradients of the class score with respect to the pixels: plain, times the input, smoothed, integrated."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from demur.attribution.target_layers import Sign, channel_maximum, channel_sum, check_sign, gradient, score_of
from demur.classifier import BoundClassifier
from demur.errors import InputError, missing_extra
from demur.randomness import Keys
from demur.shapes import Heat, Images, Labels, Scores


@dataclass(frozen=True, kw_only=True)
class Gradient:
    """|∂z/∂x| of the class's logit z, the largest over the channels: high where a small change moves the logit most.

    On the grid of the image; in logits per pixel range.
    Simonyan et al. (2014), arXiv:1312.6034, §3.1.
    """

    sentence: ClassVar[str] = "where a small change of a pixel moves the class's logit most"
    gradients: ClassVar[int] = 1

    sign: Sign = "absolute"

    def __post_init__(self) -> None:
        check_sign("gradient", self.sign)

    def __call__(self, classifier: BoundClassifier, images: Images, classes: Labels, keys: Keys) -> Heat:  # noqa: ARG002  # nothing is drawn
        return channel_maximum(gradient(classifier, images, classes), self.sign)


@dataclass(frozen=True, kw_only=True)
class GradientXInput:
    """|Σ x·∂z/∂x| over the channels: high where fading the pixel to black would move the class's logit z most.

    That is exact where the logit is linear; black pixels get nothing. On the grid of the image; in logits.
    Shrikumar et al. (2016), arXiv:1605.01713.
    """

    sentence: ClassVar[str] = "where fading a pixel to black would move the class's logit most, to first order"
    gradients: ClassVar[int] = 1

    sign: Sign = "absolute"

    def __post_init__(self) -> None:
        check_sign("gradient_x_input", self.sign)

    def __call__(self, classifier: BoundClassifier, images: Images, classes: Labels, keys: Keys) -> Heat:  # noqa: ARG002  # nothing is drawn
        return channel_sum(images * gradient(classifier, images, classes), self.sign)


@dataclass(frozen=True, kw_only=True)
class IntegratedGradients:
    """|Σ x·∫₀¹ ∂z/∂x(t·x) dt| over the channels: high where a pixel's way up from black moved the class's logit z most.

    The baseline is the black image, 0 in the [0, 1] pixel range before any normalisation, so black pixels get nothing;
    before the size is taken the pixels sum to z(x) − z(black). The integral is captum's Gauss–Legendre sum of
    `steps` gradients.
    On the grid of the image; in logits.
    Sundararajan et al. (2017), arXiv:1703.01365.
    """

    sentence: ClassVar[str] = "what each pixel adds to the class's logit on the way from black to the image"

    steps: int = 50
    sign: Sign = "absolute"

    def __post_init__(self) -> None:
        check_sign("integrated_gradients", self.sign)
        if self.steps < 1:
            raise InputError(f"integrated_gradients: `steps` of the integral must be at least 1; got {self.steps}.")

    @property
    def gradients(self) -> int:
        """A gradient for each step."""
        return self.steps

    def __call__(self, classifier: BoundClassifier, images: Images, classes: Labels, keys: Keys) -> Heat:  # noqa: ARG002  # nothing is drawn
        return channel_sum(self.attributions(classifier, images, classes), self.sign)

    def attributions(self, classifier: BoundClassifier, images: Images, classes: Labels) -> Images:
        """What each value of each image adds to the logit, for or against; their sum is z(x) − z(black).

        Raises:
            MissingExtraError: captum is not installed.
        """
        try:
            from captum.attr import IntegratedGradients as Integrated
        except ImportError:
            raise missing_extra("integrated gradients", "explain") from None

        def claim(x: Images, c: Labels) -> Scores:
            return score_of(classifier, c)(classifier.logits(x))

        with classifier.frozen():
            found = Integrated(claim).attribute(
                images.detach(),
                additional_forward_args=classes.to(images.device),
                n_steps=self.steps,
                internal_batch_size=len(images),
            )
        return found.detach().to(images.dtype)


@dataclass(frozen=True, kw_only=True)
class SmoothGrad:
    """|mean of ∂z/∂x over noisy copies|, the largest over the channels: high where noise leaves the slope standing.

    The mean is over `n` copies with normal noise of standard deviation `sigma`, a share of the pixel range; what leaves
    [0, 1] is not cut off, and signs cancel before the size is taken. On the grid of the image; in logits per pixel
    range.
    Smilkov et al. (2017), arXiv:1706.03825.
    """

    sentence: ClassVar[str] = "where a small change of a pixel moves the class's logit most, averaged over noise"

    n: int = 25
    sigma: float = 0.15
    sign: Sign = "absolute"

    def __post_init__(self) -> None:
        check_sign("smooth_grad", self.sign)
        if self.n < 1:
            raise InputError(f"smooth_grad: `n` counts noisy copies and must be at least 1; got {self.n}.")
        if not 0 < self.sigma <= 1:
            raise InputError(
                f"smooth_grad: `sigma` is a share of the pixel range and must lie in (0, 1]; got {self.sigma}. "
                "Write 0.15 for 15 %; gradient is the map without noise."
            )

    @property
    def gradients(self) -> int:
        """A gradient for each copy."""
        return self.n

    def __call__(self, classifier: BoundClassifier, images: Images, classes: Labels, keys: Keys) -> Heat:
        total = torch.zeros_like(images)
        with classifier.frozen():
            for copy in range(self.n):
                noise = self.sigma * keys.normal(images, f"smooth_grad {copy}")
                total += gradient(classifier, images + noise, classes)
        return channel_maximum(total / self.n, self.sign)
