"""Gradients integrated on the way from a black image."""

from dataclasses import dataclass
from typing import ClassVar

from demur.attribution.target_layers import Sign, channel_sum, check_sign, score_of
from demur.classifier import BoundClassifier
from demur.errors import InputError, missing_extra
from demur.randomness import Keys
from demur.shapes import Heat, Images, Labels, Scores


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
