"""The standard training recipe."""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional

from demur.data import Row, Source
from demur.errors import DataError, InputError
from demur.harden.augment import mirrored, shifted
from demur.harden.seeded import seeded
from demur.shapes import Images, Labels

Progress = Callable[[int, int, float], None]
"""Called after each batch with (batches done, batches in all, loss in nats)."""


def silent(_done: int, _total: int, _loss: float) -> None:
    """No progress."""


@dataclass(frozen=True, kw_only=True)
class Standard:
    """Cross-entropy under Nesterov SGD with one cycle of the learning rate, on mirrored and shifted images.

    Smith and Topin (2017), arXiv:1708.07120, for the cycle. Labels are neither smoothed nor mixed: popular remedies of
    calibration often spoil the ranking of confidences that a guard relies on, Zhu et al. (2024), arXiv:2403.02886.

    Attributes:
        epochs: passes over the images.
        batch: images per step; an incomplete last batch is left out.
        learning_rate: the highest of the cycle, reached after a fifth of all steps.
        weight_decay: L2 penalty on every parameter.
        mirror: mirror half of the images left to right.
        shift: largest move along each axis, in pixels.
    """

    epochs: int = 25
    batch: int = 128
    learning_rate: float = 0.2
    weight_decay: float = 5e-4
    mirror: bool = True
    shift: int = 2

    def __post_init__(self) -> None:
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"`{name}` of the standard recipe must be at least 1; got {getattr(self, name)}.")
        if self.learning_rate <= 0:
            raise InputError(f"`learning_rate` must be above 0; got {self.learning_rate}. Usual: 0.01 to 0.5.")
        if self.shift < 0:
            raise InputError(f"`shift` counts pixels and must be 0 or more; got {self.shift}.")

    def __call__(
        self,
        module: nn.Module,
        source: Source,
        seed: int = 0,
        progress: Progress = silent,
        positions: Sequence[int] | None = None,
    ) -> dict[str, Tensor]:
        """The state of a trained copy of `module`, learned from the rows at `positions` (default: all).

        The same seed gives the same weights on one machine, build and thread count.
        """
        rows = torch.arange(len(source)) if positions is None else torch.tensor(positions)
        size = min(self.batch, len(rows))
        if size == 0:
            raise DataError(f"{source.address} has no images to learn from.")
        student = _channels_last(deepcopy(module)).train()
        total = self.epochs * (len(rows) // size)
        optimizer = torch.optim.SGD(student.parameters(), momentum=0.9, nesterov=True, weight_decay=self.weight_decay)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate, total_steps=total, pct_start=0.2)
        with seeded(seed) as dice:
            for images, labels in self._views(source, rows, size, dice):
                loss = functional.cross_entropy(student(images), labels)
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                cycle.step()
                progress(cycle.last_epoch, total, loss.item())
        return {name: value.detach().contiguous() for name, value in student.state_dict().items()}

    def _views(self, source: Source, rows: Tensor, size: int, dice: torch.Generator) -> Iterator[tuple[Images, Labels]]:
        for _ in range(self.epochs):
            order = rows[torch.randperm(len(rows), generator=dice)].tolist()
            readable = (row for row in source.read(order) if row.image is not None)
            while len(batch := list(islice(readable, size))) == size:
                images, labels = _stacked(batch)
                images = mirrored(images, dice) if self.mirror else images
                yield shifted(images, self.shift, dice).contiguous(memory_format=torch.channels_last), labels


def _channels_last(module: nn.Module) -> nn.Module:
    """Up to twice as fast on processors."""
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's stubs


def _stacked(rows: Sequence[Row]) -> tuple[Images, Labels]:
    images = torch.stack([row.image for row in rows if row.image is not None])
    return images, torch.tensor([row.label for row in rows])
