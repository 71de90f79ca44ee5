"""What a map explains: the layer, the logit of a class, and how signs are treated."""

from collections.abc import Callable, Iterator
from typing import Literal, cast, get_args

import torch
from torch import Tensor

from demur.attribution.token_maps import as_maps
from demur.classifier import BoundClassifier
from demur.errors import InputError, ModelError
from demur.randomness import Keys
from demur.shapes import Heat, Images, Labels, Logits, Scores

_PROBED = 2


def last_grid(classifier: BoundClassifier) -> str:
    """The name of the last layer called whose output has a grid of more than one cell and feeds the answer.

    Raises:
        ModelError: there is none.
    """
    for layer in grid_layers(classifier):
        return layer
    hidden = "torch.jit.script and torch.jit.trace hide layers: give the module as it was before. "
    hidden = hidden if classifier.scripted else ""
    raise ModelError(
        f"grad_cam needs a layer whose output has a grid of more than one cell; no layer of {classifier.name} that "
        f"feeds its answer has one. {hidden}Use a map of the image itself: gradient, smooth_grad or "
        "integrated_gradients."
    )


def grid_layers(classifier: BoundClassifier) -> Iterator[str]:
    """Every layer whose output has a grid of more than one cell and feeds the answer, the last called first.

    Of layers that pass on the same output the outermost comes first, `layer4` before `layer4.1`.

    Raises:
        ModelError: nothing follows gradients of this model.
    """
    if classifier.gradient_fault:
        raise ModelError(
            f"grad_cam follows gradients; the answers of {classifier.name} have {classifier.gradient_fault}."
        )
    x = probe(classifier, _PROBED)
    for layer in reversed(_grids(classifier, x)):
        if _feeds(classifier, x, layer):
            yield layer


def probe(classifier: BoundClassifier, rows: int) -> Images:
    """Made-up images, always the same: each pixel is drawn alone."""
    like = torch.zeros(rows, *classifier.input_shape, device=classifier.device)
    dtype = classifier.dtype if classifier.dtype == torch.float64 else torch.float32
    return Keys.of(0, [str(row) for row in range(rows)], "probe").uniform(like, "pixels").to(dtype)


def _grids(classifier: BoundClassifier, x: Images) -> list[str]:
    """Layers whose last output is such a grid, in the order in which they put it out.

    Tokens count as one where a layer before put out as many maps on the same grid: the patches they are made of. What
    a head of attention makes of tokens has as many lines as there are tokens, and is none.
    """
    last: dict[str, tuple[int, ...]] = {}
    grids, counts = set[tuple[int, ...]](), set[int]()

    def note(name: str, output: object) -> None:
        last.pop(name, None)  # a layer called again moves to the end
        maps = as_maps(output, classifier.input_shape[1:]) if isinstance(output, Tensor) else None
        if maps is None or len(maps) != len(x):
            return
        whole, shape = cast(Tensor, output), tuple(maps.shape[1:])
        if whole.ndim == 3 and shape in grids:
            counts.add(whole.shape[1])
        elif whole.ndim == 4 and whole.shape[1:] != shape:
            counts.add(shape[1] * shape[2])
        if whole.ndim == 4 or shape in grids:
            last[name] = shape
            grids.add(shape)

    with torch.no_grad():
        classifier.each_output(x, note)
    return [name for name, (_, height, _) in last.items() if height not in counts]


def _feeds(classifier: BoundClassifier, x: Images, layer: str) -> bool:
    with classifier.frozen(), torch.enable_grad():
        output = classifier.forward_output(x.detach().requires_grad_(), [layer])
        maps = output.activations[layer]
        if not (maps.requires_grad and output.logits.requires_grad):
            return False
        (slopes,) = torch.autograd.grad(output.logits.sum(), maps, allow_unused=True)
    if slopes is None or maps.ndim == 4:
        return slopes is not None
    found = as_maps(slopes, classifier.input_shape[1:])
    return found is not None and bool(found.any())  # behind the last attention the token of the class alone is read


def score_of(classifier: BoundClassifier, classes: Labels) -> Callable[[Logits], Scores]:
    """The function from logits to the one number of each row that is explained: the logit of the given class.

    Where logits are known up to one constant per row only (a model that puts out probabilities, or one number for two
    classes) it is taken less the mean of the row, which no such constant moves. So a probability of 1 still has a
    gradient, and a single number z speaks as −z/2 for the first class.
    """
    free = _known_up_to_a_constant(classifier)

    def score(logits: Logits) -> Scores:
        centre = logits.mean(dim=1) if free else 0.0
        return logits.gather(1, classes[:, None].to(logits.device, torch.int64))[:, 0] - centre

    return score


def gradient(classifier: BoundClassifier, images: Images, classes: Labels) -> Images:
    """∂(logit of the class)/∂(pixel), signed, by one forward and one backward pass."""
    return classifier.loss_gradient(images, score_of(classifier, classes))[1]


def _known_up_to_a_constant(classifier: BoundClassifier) -> bool:
    output = classifier.contract.kind
    return output in {"probabilities", "logit"} or (output == "sigmoid" and len(classifier.classes) == 2)


Sign = Literal["absolute", "positive"]
"""`absolute` keeps the size of what speaks for or against the class, `positive` only what speaks for it."""


def check_sign(name: str, sign: str) -> None:
    """Refuse an unknown sign."""
    if sign not in get_args(Sign):
        raise InputError(f"{name}: `sign` must be {' or '.join(map(repr, get_args(Sign)))}; got {sign!r}.")


def channel_maximum(values: Images, sign: Sign) -> Heat:
    """The largest of the channels at each pixel: slopes of different channels do not add up to anything."""
    return finite_or_zero(without_sign(values, sign).amax(dim=1))


def channel_sum(values: Images, sign: Sign) -> Heat:
    """The sum over the channels at each pixel, sign and all: contributions to one logit add up."""
    return finite_or_zero(without_sign(values.sum(dim=1), sign))


def without_sign(values: Tensor, sign: Sign) -> Tensor:
    """The absolute value, or the positive part."""
    return values.abs() if sign == "absolute" else values.clamp(min=0)


def finite_or_zero(heat: Heat) -> Heat:
    """The map itself, all zero in rows where a value is infinite or no number: such a row shows nothing."""
    whole = heat.isfinite().flatten(start_dim=1).all(dim=1)
    return torch.where(whole[:, None, None], heat, torch.zeros_like(heat))
