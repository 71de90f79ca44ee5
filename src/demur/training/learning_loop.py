"""The loop of every training: batches in, steps out, a checkpoint after each epoch."""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import Protocol

import torch
from torch import Tensor, nn

from demur.errors import RunError
from demur.shapes import Images
from demur.training.backbone import Backbone
from demur.training.batches import TrainingImages, seeded_torch
from demur.training.checkpoints import Checkpoints, Forgetful, refill
from demur.training.frozen_features import Way, in_single, shortcut
from demur.training.learner import Learner
from demur.training.learning_curve import EpochRow, LearningCurve, TrainLossAlone
from demur.training.processes import Alone, Processes
from demur.training.recipe import Lesson, Recipe
from demur.training.stopping_rule import epoch_score, overdue


class TrainingProgress(Protocol):
    """Told about images learned from, of all there will be."""

    def start(self, rows: int) -> None:
        """The whole work, in images times epochs."""

    def advance(self, rows: int, what: str) -> None:
        """Some of it is done."""

    def say(self, what: str) -> None:
        """Something else is being done."""

    def epoch(self, found: EpochRow, classes: Sequence[str]) -> None:
        """One more epoch is over; the names of the classes go with its F1."""


class Quiet:
    """Nobody is waiting."""

    def start(self, rows: int) -> None:
        """Not told."""

    def advance(self, rows: int, what: str) -> None:
        """Not told."""

    def say(self, what: str) -> None:
        """Not told."""

    def epoch(self, found: EpochRow, classes: Sequence[str]) -> None:
        """Not told."""


def learn(
    recipe: Recipe,
    module: nn.Module,
    training_images: TrainingImages,
    seed: int = 0,
    *,
    progress: TrainingProgress | None = None,
    checkpoints: Checkpoints | Forgetful | None = None,
    curve: LearningCurve | TrainLossAlone | None = None,
    teacher: nn.Module | None = None,
    backbone: Backbone | None = None,
    processes: Processes | None = None,
) -> dict[str, Tensor]:
    """The state of a trained copy of `module`, the same in all processes.

    The same seed gives the same weights and the same curve on one machine, build and thread count, however often the
    training was killed and continued from its checkpoints; what the curve measures moves no weight.

    Raises:
        InputError: the processes cannot share out the steps.
        RunError: the loss or a weight is no longer finite.
    """
    (processes := processes or Alone()).check(min(recipe.batch, training_images.size))
    progress, checkpoints, curve = _of_the_first(processes, progress, checkpoints, curve)
    learner = Learner.of(processes.place(module), recipe, backbone)
    with seeded_torch(seed) as dice:
        begun, rows = refill(processes.find(checkpoints.read), learner, dice)
        curve.write(rows)
        progress.say(_beginning(begun, recipe.epochs, processes.count))
        progress.start((recipe.epochs - begun) * training_images.size)
        short = _shortcut(recipe, learner, training_images, begun, progress, processes)
        for epoch in range(begun, recipe.epochs):
            if overdue(rows, recipe):
                break
            learner.begin(epoch)
            way = short if short and learner.freezes(epoch) else Way(learner.student, training_images)
            loss = fmean(_losses(recipe, learner, way, epoch, dice, progress, teacher, processes))
            _check_epoch(learner, f"epoch {epoch + 1} of {recipe.epochs}", processes)
            rows = (*rows, processes.find(partial(curve.row, epoch + 1, loss, learner.current)))
            learner.note(epoch_score(rows[-1], recipe))
            checkpoints.keep(epoch + 1, learner, dice, rows)
            curve.write(rows)
            progress.epoch(rows[-1], curve.classes)
    return learner.state


def _of_the_first(
    processes: Processes,
    progress: TrainingProgress | None,
    checkpoints: Checkpoints | Forgetful | None,
    curve: LearningCurve | TrainLossAlone | None,
) -> tuple[TrainingProgress, Checkpoints | Forgetful, LearningCurve | TrainLossAlone]:
    """What the first process tells and keeps; the others tell and keep nothing."""
    if not processes.first:
        return Quiet(), Forgetful(), TrainLossAlone()
    return progress or Quiet(), checkpoints or Forgetful(), curve or TrainLossAlone()


def _beginning(begun: int, epochs: int, count: int) -> str:
    several = f" in {count} processes" if count > 1 else ""
    return f"learning{several}{f', continued after epoch {begun} of {epochs}' if begun else ''}"


def _losses(
    recipe: Recipe,
    learner: Learner,
    way: Way,
    epoch: int,
    dice: torch.Generator,
    progress: TrainingProgress,
    teacher: nn.Module | None,
    processes: Processes,
) -> Iterator[float]:
    """Take the steps of one epoch; the loss of each."""
    steps, where = way.rows.steps(recipe.batch), f"epoch {epoch + 1} of {recipe.epochs}"
    for step, (images, labels) in enumerate(way.rows.batches(recipe.batch, dice)):
        views = recipe.view(images, dice).contiguous(memory_format=torch.channels_last)
        taken, total = epoch * steps + step, recipe.epochs * steps
        lesson = processes.share(Lesson(views, labels, way.rows.counts, dice, teacher, taken / total))
        with processes.precision(mixed=getattr(recipe, "mixed_precision", False)):
            loss = recipe.loss(way.network, lesson)
        mean = loss.detach().clone()
        processes.average([mean])
        number = mean.item()
        _check_loss(number, where)
        learner.step(loss, recipe.pace(taken, total), processes.average)
        progress.advance(len(labels), f"{where}, loss {number:.3f}")
        yield number


def _shortcut(
    recipe: Recipe,
    learner: Learner,
    images: TrainingImages,
    epoch: int,
    progress: TrainingProgress,
    processes: Processes,
) -> Way | None:
    """The way over features of frozen layers, where an epoch and a recipe leave them the same from step to step."""
    same = learner.freezes(epoch) and getattr(recipe, "as_they_are", False) and processes.count == 1
    if learner.backbone is None or not same:
        return None
    progress.say("computing what the frozen layers make of each image")
    learner.begin(epoch)
    with torch.random.fork_rng(devices=[]):
        return shortcut(learner.student, learner.backbone, images)


def _check_loss(loss: float, where: str) -> None:
    if not math.isfinite(loss):
        raise _divergence(f"the loss is {loss}", where)


def _check_epoch(learner: Learner, where: str, processes: Processes) -> None:
    """Make running statistics, each of a process's slices, their mean; a last step can spoil weights all the same."""
    for module in (learner.student, learner.average):
        if module is not None:
            processes.average([value for value in module.buffers() if value.is_floating_point()])
            processes.agree(module.state_dict(), where)
    for name, value in learner.student.state_dict().items():
        if value.is_floating_point() and not value.isfinite().all():
            raise _divergence(f"the weights {name!r} are not finite", where)


def _divergence(what: str, where: str) -> RunError:
    return RunError(
        f"the training has diverged: {what} in {where}. The checkpoint of the last good epoch is kept. Lower the "
        "recipe's learning_rate and train into another folder, or check the images for constant or extreme ones."
    )


class InputScaling(nn.Module):
    """`network((x − mean) / std)`, so that recipes see images in [0, 1] whatever the network wants."""

    mean: Tensor | None
    std: Tensor | None

    def __init__(self, network: nn.Module, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", _per_channel(mean), persistent=False)
        self.register_buffer("std", _per_channel(std), persistent=False)

    def forward(self, images: Images) -> Tensor:
        """What the network says of images in [0, 1]."""
        return in_single(self.network(self.scaled(images)))

    def scaled(self, images: Images) -> Images:
        """What the network is given."""
        x = images if self.mean is None else images - self.mean
        return x if self.std is None else x / self.std


def without_scaling(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of the network in the state of its wrapping."""
    return {name.removeprefix("network."): value for name, value in state.items()}


def _per_channel(values: Sequence[float] | None) -> Tensor | None:
    return None if values is None else torch.tensor(values).view(1, -1, 1, 1)
