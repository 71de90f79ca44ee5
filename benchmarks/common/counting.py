"""What a run costs: rows through a model, and seconds of this process."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass
class Count:
    """Rows that went forward and rows that went backward, through a model and all its copies."""

    forwards: int = 0
    backwards: int = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> "Count":
        return self

    def reset(self) -> None:
        self.forwards = self.backwards = 0

    @property
    def passes(self) -> int:
        return self.forwards + self.backwards


class Counting(nn.Module):
    """A model that counts, whoever calls it and however."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.count = Count()

    def forward(self, x: Tensor) -> Tensor:
        self.count.forwards += len(x)
        out = self.network(x)
        if out.requires_grad:
            out.register_hook(self._went_back)
        return out

    def _went_back(self, gradient: Tensor) -> None:
        self.count.backwards += len(gradient)


def alternate(works: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each work in each round, all threads together; every round begins with another work."""
    names = list(works)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            began = time.process_time()
            works[name]()
            seconds[name].append(time.process_time() - began)
    return seconds
