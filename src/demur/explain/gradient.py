"""The plain gradient of a class's logit."""

from dataclasses import dataclass
from typing import ClassVar

from demur.classifier import Classifier
from demur.explain import score
from demur.explain.signs import Sign, check_sign, strongest
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

    def __call__(self, classifier: Classifier, images: Images, classes: Labels, keys: Keys) -> Heat:  # noqa: ARG002  # nothing is drawn
        return strongest(score.gradient(classifier, images, classes), self.sign)
