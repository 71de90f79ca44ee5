"""The layer that Grad-CAM looks at throughout an audit: the last one whose maps of real images are not empty."""

from dataclasses import dataclass

import torch

from demur.attribution.grad_cam import GradCAM
from demur.attribution.target_layers import grid_layers
from demur.classifier import BoundClassifier
from demur.randomness import Keys
from demur.shapes import Images, Labels

IMAGES = 32
"""Images whose maps are tried, by a forward and a backward pass for each layer that is; nearly always only one is."""


@dataclass(frozen=True, kw_only=True)
class LayerChoice:
    """A layer, and what is said of it: on how many of the images that were tried its maps are zero everywhere.

    Attributes:
        layer: the last one whose maps are zero everywhere on less than half of the images; where there is none, the
            last of all.
        empty: images by layer that was tried, the last first.
        images: how many were tried.
    """

    layer: str
    empty: dict[str, int]
    images: int

    @classmethod
    def of(cls, classifier: BoundClassifier, images: Images, classes: Labels, keys: Keys, batch: int) -> "LayerChoice":
        """The choice by the maps of some images for some classes.

        Raises:
            ModelError: no layer has maps.
        """
        empty: dict[str, int] = {}
        for layer in grid_layers(classifier):
            empty[layer] = _empty(GradCAM(layer=layer), classifier, images, classes, keys, batch)
            if 2 * empty[layer] < len(images):
                return cls(layer=layer, empty=empty, images=len(images))
        last = GradCAM().with_layer(classifier).layer
        return cls(layer=last, empty=empty, images=len(images))

    @property
    def sentence(self) -> str:
        """Which layer it is, and why it is not the last or why its maps are empty all the same."""
        said = f"where the maps of the layer {self.layer} speak for the class"
        last, own = next(iter(self.empty)), self.empty[self.layer]
        if self.layer != last:
            return f"{said}; those of the last one, {last}, are empty on {self.empty[last]} of {self.images} images"
        if 2 * own < self.images:
            return said
        return f"{said}; empty on {own} of {self.images} images, and those of no earlier layer on less than half"


def _empty(map_: GradCAM, classifier: BoundClassifier, images: Images, classes: Labels, keys: Keys, batch: int) -> int:
    """On how many images a map is zero everywhere."""
    found = 0
    for part in torch.split(torch.arange(len(images)), batch):
        heat = map_(classifier, images[part], classes[part], keys.rows(part.tolist()))
        found += int((heat.flatten(start_dim=1).amax(dim=1) == 0).sum())
    return found
