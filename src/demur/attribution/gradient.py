"""The gradient of a class's logit: plain, and times the image."""

from dataclasses import dataclass
from typing import ClassVar

from demur.attribution.target_layers import Sign, channel_maximum, channel_sum, check_sign, gradient
from demur.classifier import BoundClassifier
from demur.randomness import Keys
from demur.shapes import Heat, Images, Labels


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
