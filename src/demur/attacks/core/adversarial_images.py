"""What an attack gives that is called on images, and what is checked of what it was given."""

from dataclasses import dataclass

import torch
from torch import Tensor

from demur.classifier import BoundClassifier, bound
from demur.classifier.validation import check_images, clamped
from demur.errors import DataError, InputError, unknown
from demur.randomness import Keys
from demur.shapes import Flags, Images, Labels, Logits, Scores

_PRECISIONS = (torch.float32, torch.float64)


@dataclass(frozen=True, eq=False)
class AdversarialImages:
    """One entry per image, in the order given, on its device.

    `images` are the changed ones; one that the attack did not get anywhere with is as it was. `success`: the model is
    wrong there, or gives the target class; an image that it got wrong unattacked counts, at distance 0. `distance` is
    the size of the change in the attack's norm; of changes that have no norm, the largest of any pixel. `passes` are
    forward and backward passes of the model. `logits` are its answers to `images`. `flags` has a bit for each thing
    that went wrong, 0 for nothing, by `demur.attacks.core.attack_state.Trouble`.
    """

    images: Images
    success: Flags
    distance: Scores
    passes: Tensor
    logits: Logits
    flags: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        found = int(self.success.sum())
        return f"AdversarialImages({found} of {len(self)} successful, {int(self.passes.sum())} passes)"


def check_call(model: object, x: object, y: object, batch: int) -> tuple[BoundClassifier, Images, Labels]:
    """The model, images and labels an attack was called with, where the model is.

    Raises:
        InputError: something that is none of these, or images and labels that do not fit the model.
    """
    if not isinstance(x, Tensor):
        raise DataError(f"images are a tensor (rows, channels, height, width); got {_kind(x)}.")
    model = bound(model, x)
    check_images(x, model.input_shape)
    if x.dtype not in _PRECISIONS:
        raise DataError(f"images are float32 or float64: in {x.dtype} a small ball has no room. Give images.float().")
    if batch < 1:
        raise InputError(f"`batch` must be at least 1; got {batch}.")
    return model, clamped(x).to(model.device), _labels("labels", y, len(x), len(model.classes)).to(model.device)


def target_of(model: BoundClassifier, y: Labels, target: object) -> Labels | None:
    """The class of each row to be taken for: a name, a number or one number for each; −1 where that is the label."""
    if target is None:
        return None
    classes = len(model.classes)
    if isinstance(target, str):
        if target not in model.classes:
            raise unknown("class", target, model.classes)
        target = model.classes.index(target)
    if isinstance(target, int) and not isinstance(target, bool):
        target = torch.full((len(y),), target)
    goal = _labels("target", target, len(y), classes).to(y)
    return torch.where(goal == y, -1, goal)


def keys_of(keys: Keys | None, x: Images, seed: int) -> Keys:
    """The keys given, one for each image, or those of a seed and each image's content."""
    if keys is None:
        return Keys.of_images(x, seed, "attack")
    if len(keys) != len(x):
        raise InputError(f"`keys` has one key for each image; got {len(keys)} for {len(x)} images.")
    return keys


def _labels(name: str, values: object, rows: int, classes: int) -> Labels:
    """Whole numbers (rows,) from 0 to the last class."""
    if not isinstance(values, Tensor):
        raise DataError(f"{name}: a tensor of whole numbers, one for each image; got {_kind(values)}.")
    if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
        hint = " Give y.argmax(dim=1) for one-hot rows." if values.ndim > 1 else " Give y.long()."
        raise DataError(f"{name}: whole numbers, the positions of classes; got {values.dtype}.{hint}")
    if tuple(values.shape) != (rows,):
        raise DataError(f"{name}: one for each of {rows} images, shape ({rows},); got {tuple(values.shape)}.")
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= classes:
        raise DataError(f"{name}: from 0 to {classes - 1}, for {classes} classes; found {low} to {high}.")
    return values.long()


def _kind(value: object) -> str:
    return f"a {type(value).__module__}.{type(value).__qualname__}".replace("a builtins.", "a ")
