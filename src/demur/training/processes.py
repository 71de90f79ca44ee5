"""One training in one process or in several, on as many devices or hosts: who learns from what, and what they share.

All processes draw the same batches and views from the same dice, and each learns from a slice of its own. Gradients are
averaged before each step, so that every process takes the same one. The first process alone measures and writes.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch
from torch import Tensor, nn

from demur.errors import InputError, RunError
from demur.training.recipe import Lesson

if TYPE_CHECKING:
    from accelerate import Accelerator

T = TypeVar("T")
_PATIENCE = timedelta(hours=2)


class Processes(Protocol):
    """The processes of a training, seen from one of them."""

    @property
    def count(self) -> int:
        """How many there are."""

    @property
    def first(self) -> bool:
        """Whether this is the one that measures and writes."""

    def check(self, batch: int) -> None:
        """Refuse steps that cannot be shared out evenly."""

    def place(self, module: nn.Module) -> nn.Module:
        """A module where this process computes; the one that was given stays where it is."""

    def share(self, lesson: Lesson) -> Lesson:
        """What this process learns from, on its device; its dice are its own."""

    def precision(self, *, mixed: bool) -> AbstractContextManager[None]:
        """The arithmetic of forward passes: bfloat16 where it is to be mixed, or where the device is a GPU with it."""

    def average(self, tensors: list[Tensor]) -> None:
        """Replace tensors by their mean over all processes."""

    def find(self, what: Callable[[], T]) -> T:
        """What the first process finds, for all; the others wait."""

    def agree(self, state: Mapping[str, Tensor], where: str) -> None:
        """Refuse to go on with processes that have come to other weights."""


class Alone:
    """One process, on the processor."""

    count, first = 1, True

    def check(self, batch: int) -> None:
        """One process takes any."""

    def place(self, module: nn.Module) -> nn.Module:
        """Where it is."""
        return module

    def share(self, lesson: Lesson) -> Lesson:
        """All of it."""
        return lesson

    def precision(self, *, mixed: bool) -> AbstractContextManager[None]:
        """As it is asked for."""
        return _on_processors(mixed=mixed)

    def average(self, tensors: list[Tensor]) -> None:
        """The mean of one is itself."""

    def find(self, what: Callable[[], T]) -> T:
        """What it finds."""
        return what()

    def agree(self, state: Mapping[str, Tensor], where: str) -> None:
        """One agrees with itself."""


@dataclass(frozen=True, eq=False)
class Together:
    """Processes that `torchrun` started, each on a device of its own where there is one."""

    accelerator: "Accelerator"

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self.accelerator.num_processes)

    @property
    def first(self) -> bool:
        """Whether this is the one that measures and writes."""
        return bool(self.accelerator.is_main_process)

    def check(self, batch: int) -> None:
        """Refuse steps that cannot be shared out evenly."""
        if batch % self.count:
            raise InputError(
                f"a step learns from {batch} images, which {self.count} processes cannot share out evenly. Give a "
                f"--batch that is a multiple of {self.count}, at most the number of images, or start fewer processes."
            )

    def place(self, module: nn.Module) -> nn.Module:
        """A copy on this process's device."""
        return deepcopy(module).to(self.accelerator.device)

    def share(self, lesson: Lesson) -> Lesson:
        """The slice of this process, on its device.

        Its dice, and the global streams that layers draw from, start at a number drawn from the common dice in each
        step: nothing but the common dice has to be kept for a training to be continued.
        """
        rank, device = self.accelerator.process_index, self.accelerator.device
        each = len(lesson.labels) // self.count
        own = slice(rank * each, (rank + 1) * each)
        return Lesson(
            lesson.images[own].to(device, memory_format=torch.channels_last),
            lesson.labels[own].to(device),
            lesson.counts.to(device),
            self._dice(lesson.dice) if self.count > 1 or device.type != "cpu" else lesson.dice,
            lesson.teacher,
            lesson.done,
        )

    def _dice(self, common: torch.Generator) -> torch.Generator:
        number, rank = int(torch.randint(2**62, (1,), generator=common)), self.accelerator.process_index
        torch.default_generator.manual_seed(number + self.count + rank)
        if self.accelerator.device.type == "cuda":
            torch.cuda.manual_seed(number + self.count + rank)
        return torch.Generator().manual_seed(number + rank)

    def precision(self, *, mixed: bool) -> AbstractContextManager[None]:
        """As coarse as the device is good at."""
        on_processors = self.accelerator.device.type == "cpu"
        return _on_processors(mixed=mixed) if on_processors else self.accelerator.autocast()

    @torch.no_grad()
    def average(self, tensors: list[Tensor]) -> None:
        """Replace tensors by their mean over all processes, in one exchange."""
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        mean = self.accelerator.reduce(flat, reduction="mean")
        for tensor, part in zip(tensors, mean.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view(tensor.shape))

    def find(self, what: Callable[[], T]) -> T:
        """What the first process finds, for all; the others wait."""
        from accelerate.utils import broadcast_object_list

        found: T = broadcast_object_list([what() if self.first else None])[0]
        return found

    def agree(self, state: Mapping[str, Tensor], where: str) -> None:
        """Refuse to go on with processes that have come to other weights."""
        if self.count == 1:
            return
        theirs = self.find(lambda: {name: value.cpu() for name, value in state.items()})
        other = [name for name, value in state.items() if not torch.equal(value.cpu(), theirs[name])]
        if other:
            raise RunError(
                f"the processes have come to different weights after {where}, first {other[0]!r}. Their machines or "
                "builds compute differently: use the same on all hosts."
            )


def _on_processors(*, mixed: bool) -> AbstractContextManager[None]:
    return torch.autocast("cpu", torch.bfloat16, enabled=mixed)


@contextmanager
def started_processes(wanted: int | None = None) -> Iterator[Processes]:
    """The processes of this training: those that torchrun started, or this one alone.

    Raises:
        InputError: there are fewer or more than `wanted`, or accelerate is not installed.
        RunError: they did not find each other.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if wanted not in (None, started):
        raise InputError(
            f"--processes {wanted} is not what runs: this training has {started}. Start it with torchrun "
            f"--nproc_per_node {wanted} -m demur train …; `accelerate launch --cpu` starts one, whatever it is told."
        )
    if "WORLD_SIZE" not in os.environ:
        yield Alone()
        return
    accelerator = _accelerator()
    try:
        if accelerator.num_processes != started:
            raise RunError(f"torchrun started {started} processes, and {accelerator.num_processes} found each other.")
        yield Together(accelerator)
    finally:
        accelerator.end_training()


def _accelerator() -> "Accelerator":
    try:
        from accelerate import Accelerator, InitProcessGroupKwargs
    except ImportError:
        raise InputError(
            "a training that torchrun starts needs accelerate. Install it with: pip install 'demur[train]', or start "
            "`demur train` without torchrun."
        ) from None
    _ahead_of_the_group()
    coarse = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return Accelerator(
        cpu=not torch.accelerator.is_available(),
        mixed_precision="bf16" if coarse else "no",
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)],
    )


def _ahead_of_the_group() -> None:
    """Import what takes today's process group for a default value, while there is none.

    An optimizer imports it on first use. From then on the group would outlive `end_training`, and its threads the
    interpreter: now and then a process was aborted while it ended, after all its work was written.
    """
    import torch.distributed.nn  # noqa: F401
