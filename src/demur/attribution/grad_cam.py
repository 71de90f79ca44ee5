"""Grad-CAM: which cells of a layer speak for a class."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from demur.attribution.target_layers import finite_or_zero, last_grid, score_of
from demur.attribution.token_maps import as_maps
from demur.classifier import BoundClassifier
from demur.errors import ModelError
from demur.randomness import Keys
from demur.shapes import Heat, Images, Labels


@dataclass(frozen=True, kw_only=True)
class GradCAM:
    """ReLU of a layer's maps, weighted by the mean slope of the class's logit along each: high where they speak for it.

    On the grid of the layer, in logits. Without a `layer` it is the last one with a grid of more than one cell that
    feeds the answer, found by a forward pass of two made-up images; `with_layer` finds it once. A map may be zero
    everywhere, where all of the layer speaks against the class: that is a result, not a failure. An audit takes the
    last layer for which it is not the rule (`LayerChoice`).
    Selvaraju et al. (2017), arXiv:1610.02391.
    """

    sentence: ClassVar[str] = "where the maps of a layer speak for the class"
    gradients: ClassVar[int] = 1

    layer: str = ""

    def with_layer(self, classifier: BoundClassifier) -> "GradCAM":
        """The same map with its layer by name."""
        return self if self.layer else GradCAM(layer=last_grid(classifier))

    def __call__(self, classifier: BoundClassifier, images: Images, classes: Labels, keys: Keys) -> Heat:  # noqa: ARG002  # nothing is drawn
        maps, slopes = _slopes(classifier, images, classes, self.with_layer(classifier).layer)
        weights = slopes.mean(dim=(2, 3), keepdim=True)
        return finite_or_zero((weights * maps).sum(dim=1).relu())


def _slopes(classifier: BoundClassifier, images: Images, classes: Labels, layer: str) -> tuple[Tensor, Tensor]:
    """A layer's maps (rows, maps, height, width), and the slope of the class's logit along each of their cells.

    The tokens of a transformer are maps on the grid of their patches; the token of the class is left out.

    Raises:
        UnknownNameError: there is no such layer.
        ModelError: what it puts out are no maps, or they do not feed the answer.
    """
    with classifier.frozen(), torch.enable_grad():
        output = classifier.forward_output(images.detach().requires_grad_(), [layer])
        maps, size = output.activations[layer], classifier.input_shape[1:]
        found = as_maps(maps, size)
        if found is None:
            raise ModelError(
                f"grad_cam needs a layer whose output has a grid of more than one cell, (rows, maps, height, width), "
                f"or the tokens of one; {layer!r} puts out {tuple(maps.shape)}. Name an earlier layer."
            )
        total = score_of(classifier, classes)(output.logits).sum()
        (slopes,) = torch.autograd.grad(total, maps, allow_unused=True) if maps.requires_grad else (None,)
    if slopes is None:
        raise ModelError(
            f"grad_cam needs a layer that the answer depends on; {layer!r} is called, but nothing of it reaches the "
            "logits by a way that has a gradient. Name another layer."
        )
    along = as_maps(slopes, size)
    assert along is not None
    return found.detach().to(images.dtype), along.to(images.dtype)
