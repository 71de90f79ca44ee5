"""Weight randomisation: whether maps depend on what was learned, against those of the model with random weights."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from demur.attribution import AttributionMap
from demur.attribution.localisation import agreement
from demur.attribution.target_layers import probe
from demur.classifier import BoundClassifier
from demur.randomness import Keys
from demur.shapes import Images, Labels, Scores

FAILS = 0.5
"""Mean correlation from which on a map is said to show the image, not what the model has learned."""

_PROBED = 16

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def correlation(
    map_: AttributionMap, classifier: BoundClassifier, images: Images, classes: Labels, keys: Keys, seed: int = 0
) -> Scores:
    """Rank correlation of each image's map with that of the randomised model: high when weights do not matter to it.

    NaN where one of the two maps is the same everywhere. A map that shows what was learned comes out low; one that
    comes out high traces the image, whatever the model.
    Adebayo et al. (2018), arXiv:1810.03292.
    """
    return correlation_with_random(map_, classifier, with_random_weights(classifier, seed), images, classes, keys)


def correlation_with_random(
    map_: AttributionMap, one: BoundClassifier, other: BoundClassifier, images: Images, classes: Labels, keys: Keys
) -> Scores:
    """Rank correlation of each image's map by one model with that by another; the same noise for both."""
    return agreement(map_(one, images, classes, keys), map_(other, images, classes, keys))[0]


def sentence(mean: float) -> str:
    """What a mean correlation says of a map."""
    if math.isnan(mean):
        return "undefined: the maps of the randomised model are the same everywhere"
    said = f"rank correlation {mean:.2f} with the maps of the same model with made-up weights"
    if mean >= FAILS:
        return f"{said}: this map shows the image more than what the model has learned"
    return f"{said}: this map changes with what the model has learned"


def with_random_weights(classifier: BoundClassifier, seed: int = 0) -> BoundClassifier:
    """A copy of the classifier with all weights made up anew, as before a training.

    Weights of two axes and more are normal with variance 2 / fan-in, He et al. (2015), arXiv:1502.01852; scales of
    normalisation are 1, offsets and biases 0, other vectors are normal with the mean square they had. Statistics of
    batch normalisation are those of made-up images, so that nothing overflows or is silenced on the way up.
    """

    def randomise(module: nn.Module) -> None:
        with torch.no_grad():
            for name, layer in module.named_modules():
                for own, parameter in layer.named_parameters(recurse=False):
                    parameter.copy_(_fresh(parameter, own, layer, Keys.of(seed, [f"{name}.{own}"], "randomised")))
            with _learning_statistics(module):
                module(classifier.prepare(probe(classifier, _PROBED)))

    return classifier.altered(randomise, f"{classifier.name} with made-up weights")


def _fresh(parameter: Tensor, name: str, layer: nn.Module, keys: Keys) -> Tensor:
    """What a parameter might have been before the training."""
    if parameter.ndim < 2 and name == "bias":
        return torch.zeros_like(parameter)
    if parameter.ndim < 2 and "Norm" in type(layer).__name__:
        return torch.ones_like(parameter)
    size = math.sqrt(2 / parameter[0].numel()) if parameter.ndim > 1 else parameter.square().mean().sqrt()
    return size * keys.normal(parameter[None], "weights")[0]


@contextmanager
def _learning_statistics(module: nn.Module) -> Iterator[None]:
    """Batch normalisation takes the statistics of what passes through it inside; nothing hooked outlives it."""
    with ExitStack() as hooks:
        for layer in module.modules():
            if isinstance(layer, _NORMS) and layer.running_mean is not None:
                hooks.enter_context(layer.register_forward_pre_hook(_take_statistics))
        yield


def _take_statistics(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
    maps = inputs[0].transpose(0, 1).flatten(start_dim=1)
    layer.get_buffer("running_mean").copy_(maps.mean(dim=1))
    layer.get_buffer("running_var").copy_(maps.var(dim=1))
