"""What each feature map adds to the answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from demur.classifier.bound_classifier import BoundClassifier
from demur.classifier.hooks import kept_output, outputs_of, vectors
from demur.classifier.outputs import ForwardOutput
from demur.shapes import Features, Images, Labels, Scores

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


def along_a_path(
    classifier: BoundClassifier, images: Images, layers: Sequence[str], classes: Labels, steps: int
) -> Mapping[str, Contributions]:
    """Conductance of some layers by a path integral in so many steps, summed over the pixels of each map.

    Σₖ ½(∇ₖ + ∇ₖ₊₁)·(yₖ₊₁ − yₖ), y the layer's outputs at point k of the straight way from the origin to the image and ∇
    the slope of the class's logit there: the trapezoidal rule, a forward and a backward pass a point for all layers.

    Dhamdhere et al. (2018), arXiv:1805.12233.
    """
    origin, prepared = (
        classifier.prepare(part)[: len(images)] for part in (classifier.origin.expand_as(images), images)
    )
    before: Sequence[tuple[Tensor, Tensor]] = ()
    sums, first, last = [torch.zeros(()) for _ in layers], images.new_zeros(len(images)), images.new_zeros(len(images))
    for point in range(steps + 1):
        at = origin + (prepared - origin) * (point / steps)
        last, now = _slopes(classifier, at, layers, classes)
        if point:
            pairs = zip(before, now, strict=True)
            sums = [total + _added(old, new) for total, (old, new) in zip(sums, pairs, strict=True)]
        else:
            first = last
        before = now
    return {
        name: Contributions(maps, maps.sum(dim=1) - (last - first)) for name, maps in zip(layers, sums, strict=True)
    }


def _slopes(
    classifier: BoundClassifier, prepared: Tensor, layers: Sequence[str], classes: Labels
) -> tuple[Scores, Sequence[tuple[Tensor, Tensor]]]:
    """The logits of some classes, and each layer's outputs with their slopes."""
    module, rows = classifier.as_module(), len(classes)
    given = prepared if rows > 1 else prepared.expand(2, *prepared.shape[1:])  # a lone image travels twice
    with torch.enable_grad(), classifier.frozen(), outputs_of(module, layers, len(given)) as kept:
        logits = classifier.interpret(module(given.detach().requires_grad_()), rows)
        chosen = logits.gather(1, classes[:, None])[:, 0]
        outputs = [kept_output(kept, name) for name in layers]
        slopes = torch.autograd.grad(chosen.sum(), outputs)
    return chosen.detach(), [(y.detach()[:rows], slope[:rows]) for y, slope in zip(outputs, slopes, strict=True)]


def _added(old: tuple[Tensor, Tensor], new: tuple[Tensor, Tensor]) -> Features:
    """What each map adds between two points."""
    added = (old[1] + new[1]) / 2 * (new[0] - old[0])
    return added.sum(dim=(2, 3)) if added.ndim == 4 else added.flatten(start_dim=1)
