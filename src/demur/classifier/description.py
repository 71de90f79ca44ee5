"""A model as its user describes it: what is not said is taken from the data it meets."""

from collections.abc import Collection, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any, TypeAlias, final

import torch
from torch import Tensor, nn

from demur.classifier.bound_classifier import BoundClassifier
from demur.classifier.first_answer import eager, first_answer, part_that_counts
from demur.classifier.outputs import columns
from demur.classifier.preprocessing import Preprocessing
from demur.classifier.validation import check_weights
from demur.errors import ModelError
from demur.shapes import Logits

Shape: TypeAlias = tuple[int, int, int]


@final
@dataclass(frozen=True, eq=False, repr=False)
class Classifier:
    """A model that takes images in [0, 1], normalises inside and answers with logits.

    A frozen description: classes and input shape that are not said come from the data, or from a first batch. `bind`
    gives the classifier that an audit measures; attacks and evidence bind by themselves. With both said the model is
    checked at once. The module is shared, not copied, and must be in evaluation mode.

    Attributes:
        module: any module that maps (rows, channels, height, width) to outputs per row: one tensor, or a tuple, dict or
            dataclass that has it. Of a compiled or parallel one the module inside is run.
        classes: names in the order of the outputs.
        input_shape: (channels, height, width).
        mean: subtracted per channel, in the [0, 1] pixel range.
        std: divided by per channel, in the [0, 1] pixel range.
        output: what the outputs are; see `demur.classifier.outputs.to_logits`. Behind a colon the part of the answer
            that they are, such as `logits:main`, where several would do.
        features: the layer whose outputs are the features; by default the input of the linear head, where there is one.
        name: how reports call the model; by default the module's type.
        learned_from: content hashes, as an `Index` has them, of the images it was trained on; an audit leaves them out.

    Raises:
        ModelError: the model breaks the contract of a classifier.
    """

    module: nn.Module
    _: KW_ONLY
    classes: Sequence[str] | None = None
    input_shape: Shape | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    output: str = "logits"
    features: str | None = None
    name: str = ""
    learned_from: Collection[str] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.module, nn.Module):
            raise _no_module(self.module)
        if self.classes is not None and self.input_shape is not None:
            _ = self._whole

    def __repr__(self) -> str:
        said = [f"{len(self.classes)} classes" if self.classes else "classes from the data"]
        said.append(f"input_shape={self.input_shape}" if self.input_shape else "shape from the data")
        return f"Classifier({self.title!r}, {', '.join(said)})"

    def __call__(self, images: Tensor) -> Logits:
        """Logits (rows, classes) of images (rows, channels, height, width); differentiable where autograd is on."""
        return self.bind_to(images)(images)

    @property
    def title(self) -> str:
        """How reports call the model."""
        return self.name or type(eager(self.module)).__name__

    @cached_property
    def _whole(self) -> BoundClassifier:
        assert self.classes is not None
        assert self.input_shape is not None
        return self._made(self.classes, self.input_shape)

    def bind(self, *, classes: Sequence[str], input_shape: Shape) -> BoundClassifier:
        """The classifier for data of these classes and this shape; what the description says itself wins.

        Raises:
            ModelError: the model breaks the contract of a classifier.
        """
        if self.classes is not None and self.input_shape is not None:
            return self._whole
        return self._made(self.classes or classes, self.input_shape or input_shape)

    def bind_to(self, images: Tensor) -> BoundClassifier:
        """The classifier for images like these; classes without names are called by their numbers.

        Raises:
            ModelError: the model cannot read such images.
        """
        if self.classes is not None and self.input_shape is not None:
            return self._whole
        if images.ndim != 4:
            raise ModelError(
                f"images come in batches (rows, channels, height, width); got the shape {tuple(images.shape)}. "
                "Write images[None] for a single image."
            )
        channels, height, width = self.input_shape or images.shape[1:]
        classes = self.classes or self.numbered(images)
        return self.bind(classes=classes, input_shape=(channels, height, width))

    def numbered(self, images: Tensor) -> tuple[str, ...]:
        """The names "0", "1", … for as many classes as the model has, by its answer to the first image.

        Raises:
            ModelError: the model cannot read it, or its answer has no columns of classes.
        """
        module = eager(self.module)
        check_weights(module)
        weight = next((each for each in module.parameters() if each.is_floating_point()), torch.empty(0))
        first = images[:1].to(weight).repeat(2, 1, 1, 1)
        plain = Preprocessing(mean=None, std=None, dtype=None, channels_last=False)
        raw, _ = first_answer(module, plain, first, self.title)
        outputs = columns(raw, part_that_counts(raw, len(first), self.output.partition(":")[2])).shape[1]
        return tuple(map(str, range(outputs if outputs > 1 else 2)))

    def _made(self, classes: Sequence[str], input_shape: Shape) -> BoundClassifier:
        return BoundClassifier(
            self.module,
            classes=classes,
            input_shape=input_shape,
            mean=self.mean,
            std=self.std,
            output=self.output,
            features=self.features,
            name=self.name,
            learned_from=self.learned_from,
        )


def _no_module(given: object) -> ModelError:
    way_out = "Wrap a function in a module whose forward calls it, or name an address with demur.load_model."
    if given is None:
        way_out = "Where eval() of a model returns None, call it in a line of its own and give the model."
    return ModelError(f"a classifier wraps a torch.nn.Module; got {type(given).__name__}. {way_out}")


AnyClassifier: TypeAlias = Classifier | BoundClassifier


def bound(model: Any, images: Tensor) -> BoundClassifier:
    """The classifier that a module, a description or a classifier is for some images.

    Raises:
        ModelError: it is none of these, or cannot read the images.
    """
    if isinstance(model, BoundClassifier):
        return model
    if isinstance(model, nn.Module):
        model = Classifier(model)
    if not isinstance(model, Classifier):
        raise ModelError(
            "the model is a demur.Classifier or a torch.nn.Module that reads images in [0, 1]; got "
            f"{type(model).__name__}. Write demur.Classifier(module, mean=…, std=…)."
        )
    return model.bind_to(images)
