"""What a model, a batch or a labelled set must be before anything is measured."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from demur.classifier.contract import Contract
from demur.errors import DataError, ModelError
from demur.metrics.binomial import wilson
from demur.metrics.estimate import Estimate
from demur.shapes import Images

_ROUNDING = 1e-6  # how far resizing may push a pixel out of [0, 1]
_SUM_TOLERANCE = 1e-5


def check_weights(module: nn.Module) -> None:
    """Refuse weights or buffers that are not there or not finite."""
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if is_lazy(tensor):
            raise ModelError(
                f"every layer must have its weights; {name!r} is of a lazy layer that never saw an image, so its "
                "weights would be drawn at random. Pass one batch through the model and train it, or load its weights."
            )
        if tensor.is_meta:
            raise ModelError(
                f"weights must be in memory; {name!r} is on the meta device, which has shapes alone. Build the model "
                "without torch.device('meta'), or make room by model.to_empty(device='cpu') and load its weights."
            )
    for name, tensor in module.state_dict().items():
        if isinstance(tensor, Tensor) and tensor.is_floating_point() and not tensor.isfinite().all():
            bad = int((~tensor.isfinite()).sum())
            raise ModelError(
                f"weights must be finite; the tensor {name!r} has {bad} NaN or infinite value(s) of {tensor.numel()}. "
                "The training has diverged or the file is damaged: use an earlier checkpoint."
            )


def check_mode(module: nn.Module) -> None:
    """Refuse layers left in training mode."""
    training = [(name or "the model itself", type(layer).__name__) for name, layer in _leaves_first(module)]
    if training:
        name, kind = training[0]
        raise ModelError(
            f"every layer must be in evaluation mode; {len(training)} are in training mode, among them {name!r} "
            f"({kind}). Batch normalisation and dropout would answer differently each time and drift while being "
            "measured. Call model.eval() first."
        )


def check_images(images: Images, input_shape: tuple[int, int, int]) -> None:
    """Refuse a batch that is not float (rows, channels, height, width) in [0, 1]."""
    if not images.is_floating_point():
        raise DataError(
            f"images are floating-point numbers in [0, 1]; got {images.dtype}. "
            "Give images.float() / 255 for 8-bit pixels."
        )
    _check_shape(images, input_shape)
    if not images.isfinite().all():
        raise DataError("images must be finite; found NaN or infinite pixels. Look for a division by zero before.")
    low, high = float(images.min()), float(images.max())
    if low < -_ROUNDING:
        raise DataError(
            f"images lie in [0, 1]; found {low:.4g} to {high:.4g}. Images with negative values have been normalised "
            "already: give them as they were before, and give mean and std to the classifier."
        )
    if high > 1 + _ROUNDING:
        hint = "Pixels of 0–255 must be divided by 255." if high > 1.5 else "Clip them to [0, 1]."
        raise DataError(f"images lie in [0, 1]; found {low:.4g} to {high:.4g}. {hint}")


def clamped(images: Images) -> Images:
    """The images themselves, or where rounding has pushed pixels out of [0, 1] a copy in which it has not."""
    return images if images.min() >= 0 and images.max() <= 1 else images.clamp(0, 1)


def fits(tensor: Tensor, rows: int, contract: Contract | None = None) -> bool:
    """Whether a tensor may be the outputs for so many images: one column for each class, or one that will do."""
    if not tensor.is_floating_point() or tensor.ndim == 0 or len(tensor) != rows:
        return False
    sides = [side for side in tensor.shape[1:] if side != 1]
    if len(sides) > 1 or contract is None:
        return len(sides) <= 1
    width, classes = math.prod(sides), len(contract.classes)
    if contract.kind == "logit" or width == 1:
        return width == 1 and classes == 2 and contract.kind in {"logit", "sigmoid"}
    return width == classes


class OutputCountError(ModelError):
    """A model with another number of outputs than there are classes.

    Attributes:
        outputs: how many it has.
    """

    def __init__(self, message: str, outputs: int) -> None:
        ModelError.__init__(self, message)
        self.outputs = outputs


def check_output(raw: Tensor, contract: Contract) -> None:
    """Refuse a model's answer that is not finite, not one column per class or not what was declared."""
    _check_width(raw.shape[1], contract)
    if not raw.isfinite().all():
        bad = int((~raw.isfinite()).any(dim=1).sum())
        raise ModelError(
            f"a model's outputs must be finite; {bad} of {len(raw)} images gave NaN or infinity. "
            "Check the weights, and that mean and std are on the scale of images in [0, 1]."
        )
    if contract.kind == "logits" and _sums_to_one(raw):
        raise ModelError(
            "logits were declared, but every row of outputs is non-negative and sums to 1: these are probabilities, "
            "and a second softmax would flatten them. Declare output='probabilities', or drop the model's softmax."
        )
    if contract.kind == "probabilities" and not _sums_to_one(raw):
        total = float(raw.sum(dim=1)[0])
        raise ModelError(
            "probabilities were declared, but rows are not non-negative with sum 1 "
            f"(the first row sums to {total:.4g}, its smallest value is {float(raw[0].min()):.4g}). "
            "Declare output='logits' or output='sigmoid'."
        )
    if contract.kind == "sigmoid" and not ((raw >= 0) & (raw <= 1)).all():
        raise ModelError(
            f"sigmoid outputs were declared, but values lie in {float(raw.min()):.4g} to {float(raw.max()):.4g}, "
            "outside [0, 1]. Declare output='logit' for one number per image or output='logits' for one per class."
        )


def _leaves_first(module: nn.Module) -> list[tuple[str, nn.Module]]:
    training = [(name, layer) for name, layer in module.named_modules() if layer.training]
    return sorted(training, key=lambda pair: not _depends_on_mode(pair[1]))


def _depends_on_mode(layer: nn.Module) -> bool:
    return "Norm" in type(layer).__name__ or "Drop" in type(layer).__name__


def _check_shape(images: Images, input_shape: tuple[int, int, int]) -> None:
    channels, height, width = input_shape
    shape = tuple(images.shape)
    if len(shape) == 4 and shape[1:] == input_shape and shape[0] > 0:
        return
    hint = "Resize or convert the images, or name the model's own input_shape."
    if shape[1:] == (height, width, channels):
        hint = "Put the channels first: images.permute(0, 3, 1, 2)."
    elif shape == input_shape:
        hint = "Add the row axis: images[None]."
    elif len(shape) == 4 and shape[1] != channels:
        hint = f"The images have {shape[1]} channel(s), the model reads {channels}: {hint[0].lower()}{hint[1:]}"
    raise DataError(f"images have the shape (rows, {channels}, {height}, {width}); got {shape}. {hint}")


def _check_width(width: int, contract: Contract) -> None:
    classes = len(contract.classes)
    if width == classes and contract.kind != "logit":
        return
    if width == 1 and classes == 2 and contract.kind in {"logit", "sigmoid"}:
        return
    hint = "Name every class of the model, in the order of its outputs."
    if width == 1 and classes == 2:
        hint = "A model of one output declares output='logit', or output='sigmoid' where it ends in one."
    elif contract.kind == "logit":
        hint = "Output 'logit' is one number per image; declare output='logits'."
    raise OutputCountError(f"the model gives {width} output(s) per image for {classes} classes. {hint}", width)


def _sums_to_one(raw: Tensor) -> bool:
    tolerance = max(_SUM_TOLERANCE, torch.finfo(raw.dtype).eps * raw.shape[1])
    return bool((raw >= 0).all() and ((raw.sum(dim=1) - 1).abs() <= tolerance).all())


_COLLAPSED = 0.9  # share of one answer from which the input, not the order of classes, is to blame
_GAIN = 0.05  # accuracy that another order of classes must win before it counts as the right one
_PER_CLASS = 10  # labelled images per class below which such a gain may be luck


def check_labels(
    predicted: ArrayLike, labels: ArrayLike, classes: Sequence[str], *, trust_labels: bool = False
) -> None:
    """Refuse a labelled set that the model seems to name otherwise, and say the likely cause.

    Refused when the 95 % Wilson interval of accuracy reaches down to guessing, 1/classes, or when one fixed renaming of
    the classes would make the model clearly better (some classes swapped leave an accuracy above guessing).

    Raises:
        DataError: the labels do not fit; `trust_labels` overrides.
    """
    answers = _Answers(np.asarray(predicted), np.asarray(labels), tuple(classes))
    if trust_labels:
        return
    if answers.accuracy.low <= 1 / len(classes):
        rule = f"the model must do better than guessing, which is right on {1 / len(classes):.1%}"
    elif answers.renamed:
        rule = "the model must name the classes as the labels do"
    else:
        return
    accuracy = answers.accuracy
    raise DataError(
        f"{rule}; it is right on {accuracy.value:.1%} of {accuracy.n:,} labelled images (95 % interval "
        f"{accuracy.low:.1%} to {accuracy.high:.1%}). {answers.cause()} If the labels are right nevertheless, say so: "
        "--set model.trust_labels=true (in Python trust_labels=True)."
    )


@dataclass(frozen=True, eq=False)
class _Answers:
    """What a model answered beside the labels."""

    predicted: NDArray[np.int64]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    @property
    def accuracy(self) -> Estimate:
        return wilson(int((self.predicted == self.labels).sum()), len(self.labels))

    @property
    def renamed(self) -> bool:
        """Whether another order of the classes is clearly the right one."""
        if len(self.labels) < _PER_CLASS * len(self.classes):
            return False
        _, matched = self.best_renaming()
        halfway = (1 + 1 / len(self.classes)) / 2
        return matched >= halfway and matched >= self.accuracy.value + _GAIN

    def best_renaming(self) -> tuple[list[int], float]:
        """For every answered class the label it fits best, one to one, and the accuracy that would give."""
        from scipy.optimize import linear_sum_assignment

        confusion = np.zeros((len(self.classes), len(self.classes)), dtype=np.int64)
        np.add.at(confusion, (self.predicted, self.labels), 1)
        rows, meant = linear_sum_assignment(confusion, maximize=True)
        return [int(k) for k in meant], float(confusion[rows, meant].sum() / len(self.labels))

    def cause(self) -> str:
        """The likely reason, in words."""
        counts = np.bincount(self.predicted, minlength=len(self.classes))
        if counts.max() >= _COLLAPSED * len(self.predicted):
            answer, share = self.classes[int(counts.argmax())], counts.max() / len(self.predicted)
            return (
                f"It answers {answer!r} for {share:.0%} of them, so it probably sees other images than in training: "
                "check mean and std, pixel scale, colour order."
            )
        if self.renamed:
            return self._order()
        return (
            "No other order of classes repairs it, so the labels may belong to other images (a shuffled or sorted "
            "file), or the weights to another architecture or data set."
        )

    def _order(self) -> str:
        meant, matched = self.best_renaming()
        moved = [f"{self.classes[k]!r} is labelled {self.classes[m]!r}" for k, m in enumerate(meant) if k != m]
        more = f" and {len(moved) - 3} more" if len(moved) > 3 else ""
        return (
            f"With its classes renamed it would be right on {matched:.1%}, so model and labels order the classes "
            f"differently: what it calls {', '.join(moved[:3])}{more}. Give the model's classes in its own order."
        )
