"""A network that is given normalised images, for training."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from demur.shapes import Images


class Normalised(nn.Module):
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
        x = images if self.mean is None else images - self.mean
        return self.network(x if self.std is None else x / self.std)


def within(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of the network in the state of its wrapping."""
    return {name.removeprefix("network."): value for name, value in state.items()}


def _per_channel(values: Sequence[float] | None) -> Tensor | None:
    return None if values is None else torch.tensor(values).view(1, -1, 1, 1)
