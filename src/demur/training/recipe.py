"""What a recipe is, and what all of demur's own have in common: the schedule, the random views, the cross-entropy."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from demur.errors import InputError
from demur.shapes import Images, Labels, Logits
from demur.training.batches import random_mirror, random_shift

_RISE = 0.2
_START, _END = 1 / 25, 1 / 250_000
_CALM, _FAST = 0.95, 0.85

Parameters: TypeAlias = Iterable[nn.Parameter] | Iterable[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Lesson:
    """What one step learns from.

    Attributes:
        images: random views of some images, in [0, 1].
        labels: their classes.
        counts: images (classes,) of each class in the whole set, by class id.
        dice: where the step's random numbers come from.
        teacher: the trained network that a recipe with a `teacher` learns from.
        done: the share of the training's steps that lie behind it.
    """

    images: Images
    labels: Labels
    counts: Tensor
    dice: torch.Generator
    teacher: nn.Module | None = None
    done: float = 1.0

    @property
    def seeds(self) -> Tensor:
        """One 64-bit integer per row for an attack's own draws; new ones each time."""
        return torch.randint(-(2**63), 2**63 - 1, (len(self.labels),), generator=self.dice).to(self.labels.device)


class Recipe(Protocol):
    """A frozen bundle of hyper-parameters that says what one step is."""

    @property
    def epochs(self) -> int:
        """Passes over the images."""

    @property
    def batch(self) -> int:
        """Images per step."""

    def optimizer(self, parameters: Parameters) -> torch.optim.Optimizer:
        """What moves the parameters, or groups of them."""

    def pace(self, done: int, total: int) -> Mapping[str, float]:
        """The optimizer's settings for the step after `done` of `total` ones."""

    def view(self, images: Images, dice: torch.Generator) -> Images:
        """A random view of each image; for training alone."""

    def loss(self, student: nn.Module, lesson: Lesson) -> Tensor:
        """What a step makes smaller, in nats."""


@dataclass(frozen=True, kw_only=True)
class OneCycle(ABC):
    """A recipe under Nesterov SGD with one cycle of the learning rate, on mirrored and shifted images.

    The cycle goes up and down along two half cosines: the second is the cosine schedule, from the highest rate to
    almost nothing at the last step. Smith and Topin (2017), arXiv:1708.07120, for the cycle.

    Attributes:
        epochs: passes over the images.
        batch: images per step; an incomplete last batch is left out.
        learning_rate: the highest of the cycle, reached after a fifth of all steps.
        weight_decay: L2 penalty on every parameter.
        mirror: mirror half of the images left to right.
        shift: largest move along each axis, in pixels.
        balanced: weigh classes so that each counts the same in the loss, however few its images.
        smoothing: share of a label spread over all classes. Szegedy et al. (2016), arXiv:1512.00567.
        averaging: share of the old in the running mean of weights that is kept in place of the last ones; 0 keeps the
            last ones. Izmailov et al. (2018), arXiv:1803.05407; Rebuffi et al. (2021), arXiv:2103.01946.
        frozen: epochs in which the head alone learns, where the network starts from weights.
        backbone_rate: after them, the learning rate of all but the head in units of that of the head.
        mixed_precision: convolutions and matrix products in bfloat16, the rest and all weights in single precision: up
            to twice as fast on processors that have it, slower on others.
            Micikevicius et al. (2018), arXiv:1710.03740; Kalamkar et al. (2019), arXiv:1905.12322.
        patience: epochs without a better one after which the training ends; 0 never ends it early. Better is the
            accuracy under attack on images set aside, of recipes without an attack the accuracy on them as they are;
            where either tells the epochs apart, the best is what is kept.
    """

    epochs: int = 25
    batch: int = 128
    learning_rate: float = 0.2
    weight_decay: float = 5e-4
    mirror: bool = True
    shift: int = 2
    balanced: bool = False
    smoothing: float = 0.0
    averaging: float = 0.0
    frozen: int = 0
    backbone_rate: float = 0.1
    mixed_precision: bool = False
    patience: int = 0

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch", 1), ("shift", 0), ("patience", 0)):
            if getattr(self, name) < least:
                raise InputError(f"`{name}` of a recipe must be at least {least}; got {getattr(self, name)}.")
        if self.learning_rate <= 0:
            raise InputError(f"`learning_rate` must be above 0; got {self.learning_rate}. Usual: 0.01 to 0.5.")
        if self.weight_decay < 0:
            raise InputError(f"`weight_decay` must be 0 or more; got {self.weight_decay}. Usual: 0.0001 to 0.001.")
        for name in ("smoothing", "averaging"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"`{name}` must lie in [0, 1); got {getattr(self, name)}.")
        self._check_backbone()
        self.check()

    def _check_backbone(self) -> None:
        if self.frozen < 0:
            raise InputError(f"`frozen` counts epochs and must be 0 or more; got {self.frozen}.")
        if not 0 < self.backbone_rate < math.inf:
            raise InputError(f"`backbone_rate` must be above 0; got {self.backbone_rate}. Usual: 0.01 to 1.")

    @property
    def as_they_are(self) -> bool:
        """Whether every step sees the images as they are, neither moved nor changed."""
        return False

    @abstractmethod
    def check(self) -> None:
        """Refuse fields of its own that cannot be."""

    @abstractmethod
    def loss(self, student: nn.Module, lesson: Lesson) -> Tensor:
        """What a step makes smaller, in nats."""

    def optimizer(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Nesterov SGD; its rate and momentum are set before every step."""
        return torch.optim.SGD(
            parameters, self.learning_rate, momentum=_CALM, nesterov=True, weight_decay=self.weight_decay
        )

    def pace(self, done: int, total: int) -> Mapping[str, float]:
        """Rate and momentum: up and down along two half cosines, the momentum the other way round."""
        top = _RISE * total - 1
        if done <= top and top > 0:
            way = done / top
            return {
                "lr": _between(_START * self.learning_rate, self.learning_rate, way),
                "momentum": _between(_CALM, _FAST, way),
            }
        way = (done - top) / (total - 1 - top)
        return {
            "lr": _between(self.learning_rate, _END * self.learning_rate, way),
            "momentum": _between(_FAST, _CALM, way),
        }

    def view(self, images: Images, dice: torch.Generator) -> Images:
        """Images mirrored and shifted at random."""
        return random_shift(random_mirror(images, dice) if self.mirror else images, self.shift, dice)

    def surprise(self, logits: Logits, lesson: Lesson) -> Tensor:
        """Cross-entropy of the lesson's labels, smoothed and balanced as the recipe says, in nats."""
        weight = balance(lesson.counts) if self.balanced else None
        return functional.cross_entropy(logits, lesson.labels, weight, label_smoothing=self.smoothing)


def balance(counts: Tensor) -> Tensor:
    """The weight of each class, by class id, from how many images it has: high for rare classes; the mean image has 1.

    King and Zeng (2001), "Logistic regression in rare events data".

    >>> balance(torch.tensor([90, 10]))
    tensor([0.5556, 5.0000])
    """
    return counts.sum() / (len(counts) * counts.float())


def _between(start: float, end: float, way: float) -> float:
    """Half a cosine from `start` to `end`, in the order of operations of torch's own cycle: the same bits."""
    return end + (start - end) / 2.0 * (math.cos(math.pi * way) + 1)
