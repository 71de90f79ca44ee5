"""What each feature map adds to the answer."""

from dataclasses import dataclass

import torch
from torch import Tensor

from demur.classifier.bound_classifier import BoundClassifier
from demur.classifier.hooks import submodule, vectors
from demur.classifier.outputs import ForwardOutput
from demur.errors import missing_extra
from demur.shapes import Features, Images, Labels, Scores

_ROWS = 32  # images whose whole path is in memory at a time
_SAME = 1e-5


@dataclass(frozen=True, eq=False)
class Contributions:
    """What each map (rows, maps) adds to a class's logit on the way from the origin to the image, and the `gap` left.

    The gap (rows,) is their sum minus the difference of the logits at both ends: 0 where the sum is complete.
    """

    maps: Features
    gap: Scores

    def cpu(self) -> "Contributions":
        """The same on the CPU, in float64."""
        return Contributions(self.maps.double().cpu(), self.gap.double().cpu())

    @classmethod
    def join(cls, parts: "list[Contributions]") -> "Contributions":
        """Those of several batches, one after the other."""
        return cls(torch.cat([part.maps for part in parts]), torch.cat([part.gap for part in parts]))


def of_features(classifier: BoundClassifier, head: Tensor, output: ForwardOutput, classes: Labels) -> Contributions:
    """The closed form where logits are linear in the features: W[c, k]·(hₖ − hₖ at the origin).

    The gradient is the same all along the path, so one evaluation is exact. `head` is W, (classes, width).
    """
    maps = head[classes] * (output.features - classifier.features(classifier.origin))
    return Contributions(maps, torch.zeros_like(maps[:, 0]))


def is_pooled(output: ForwardOutput, layer: str) -> bool:
    """Whether a layer's maps, averaged over their pixels, are the features."""
    found = vectors(output.activations[layer])
    if output.penultimate is None or found.shape != output.penultimate.shape:
        return False
    return bool((found - output.penultimate).abs().max() <= _SAME * output.penultimate.abs().max())


def along_a_path(classifier: BoundClassifier, images: Images, layer: str, classes: Labels, steps: int) -> Contributions:
    """Conductance of a layer by captum's path integral in so many steps, summed over the pixels of each map.

    Dhamdhere et al. (2018), arXiv:1805.12233.

    Raises:
        MissingExtraError: captum is not installed.
    """
    try:
        from captum.attr import LayerConductance
    except ImportError:
        raise missing_extra("conductance of a layer that is not pooled into a linear head", "conductance") from None

    def logits(prepared: Tensor) -> Tensor:
        return classifier.interpret(classifier.as_module()(prepared), len(prepared))

    conductance = LayerConductance(logits, submodule(classifier.as_module(), layer))
    found = []
    with torch.no_grad():
        start = classifier.logits(classifier.origin)[0, classes]
    for x, c, zero in zip(*(torch.split(each, _ROWS) for each in (images, classes, start)), strict=True):
        ends = torch.split(classifier.prepare(torch.cat([x, classifier.origin.expand_as(x)])), len(x))
        with torch.enable_grad(), classifier.frozen():
            neurons = conductance.attribute(
                ends[0], ends[1], target=c, n_steps=steps, method="riemann_trapezoid"
            ).detach()
        with torch.no_grad():
            risen = logits(ends[0]).gather(1, c[:, None])[:, 0] - zero
        maps = neurons.sum(dim=(2, 3)) if neurons.ndim == 4 else neurons.flatten(start_dim=1)
        found.append(Contributions(maps, maps.sum(dim=1) - risen))
    return Contributions.join(found)
