"""Which layer of a model still knows where things are."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from demur.classifier import Classifier
from demur.errors import ModelError
from demur.randomness import Keys
from demur.shapes import Images

_PROBED = 2


def last_grid(classifier: Classifier) -> str:
    """The name of the last layer called whose output has a grid of more than one cell and feeds the answer.

    Of layers that pass on the same output the outermost is named, `layer4` rather than `layer4.1`.

    Raises:
        ModelError: there is none.
    """
    x = probe(classifier, _PROBED)
    for layer in reversed(_grids(classifier, x)):
        if _feeds(classifier, x, layer):
            return layer
    raise ModelError(
        f"grad_cam needs a layer whose output has a grid of more than one cell; no layer of {classifier.name} that "
        "feeds its answer has one. Use a map of the image itself: gradient, smooth_grad or integrated_gradients."
    )


def probe(classifier: Classifier, rows: int) -> Images:
    """Made-up images, always the same: each pixel is drawn alone."""
    weight = next(classifier.module.parameters(), torch.zeros(()))
    like = torch.zeros(rows, *classifier.input_shape, device=classifier.device)
    dtype = weight.dtype if weight.dtype == torch.float64 else torch.float32
    return Keys.of(0, [str(row) for row in range(rows)], "probe").uniform(like, "pixels").to(dtype)


def _grids(classifier: Classifier, x: Images) -> list[str]:
    """Layers whose last output is such a grid, in the order in which they put it out."""
    last: dict[str, bool] = {}
    with ExitStack() as hooks:
        for name, layer in classifier.module.named_modules():
            if name:
                hooks.enter_context(layer.register_forward_hook(_note(last, name)))
        with torch.no_grad():
            classifier.logits(x)
    return [name for name, is_grid in last.items() if is_grid]


def _note(last: dict[str, bool], name: str) -> Callable[[nn.Module, tuple[Any, ...], object], None]:
    def hook(_layer: nn.Module, _inputs: tuple[Any, ...], output: object) -> None:
        last.pop(name, None)  # a layer called again moves to the end
        last[name] = isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] * output.shape[3] > 1

    return hook


def _feeds(classifier: Classifier, x: Images, layer: str) -> bool:
    with classifier.frozen(), torch.enable_grad():
        look = classifier.look(x.detach().requires_grad_(), [layer])
        maps = look.activations[layer]
        if not (maps.requires_grad and look.logits.requires_grad):
            return False
        (slopes,) = torch.autograd.grad(look.logits.sum(), maps, allow_unused=True)
    return slopes is not None
