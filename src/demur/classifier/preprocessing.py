"""The way of images into a model: normalised, laid out for speed, never alone, in memory of its own."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from demur.classifier.contract import Contract
from demur.shapes import Images


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """(x − mean) / std, channels last where that is faster, a lone image doubled, none made two.

    A batch of one is computed by other kernels than a batch of many and differs in its last bits, so it goes in twice;
    of no images many models cannot make an answer, so two grey ones go in. A model may write into what it is given: it
    gets a copy.
    Convolutions on the CPU were measured 1.1 to 1.3 times faster with channels last. The rule is fixed rather than
    timed, because the layout changes last bits too: channels last if and only if the model has a 2-D convolution,
    lives on the CPU and does not refuse the layout. It is enough to lay out the images; convolutions pass the layout
    on. A model in half or double precision is given images in its own.
    """

    mean: Tensor | None
    std: Tensor | None
    dtype: torch.dtype | None
    channels_last: bool

    @classmethod
    def of(cls, module: nn.Module, contract: Contract, device: torch.device, dtype: torch.dtype) -> "Preprocessing":
        """The intake a module needs under its contract."""
        convolves = any(isinstance(layer, nn.Conv2d) for layer in module.modules())
        return cls(
            mean=_per_channel(contract.mean, device, dtype),
            std=_per_channel(contract.std, device, dtype),
            dtype=next((weight.dtype for weight in module.parameters() if weight.is_floating_point()), None),
            channels_last=convolves and device.type == "cpu",
        )

    def __call__(self, images: Images) -> Tensor:
        """What the module is given; two rows where there was one or none."""
        x = images if len(images) > 1 else _two(images)
        if self.dtype is not None:
            x = x.to(self.dtype)
        if self.mean is not None:
            x = x - self.mean
        if self.std is not None:
            x = x / self.std
        if x is images:  # nothing has made a copy yet
            x = x.clone(memory_format=self._layout(x))
        return _channels_last(x) if self.channels_last else x

    def _layout(self, x: Tensor) -> torch.memory_format:
        return torch.channels_last if self.channels_last and x.shape[1] > 1 else torch.preserve_format


def _two(images: Images) -> Tensor:
    alike = images if len(images) else images.new_full((2, *images.shape[1:]), 0.5)
    return torch.cat([images, alike])


def _channels_last(x: Tensor) -> Tensor:
    rows, channels, height, width = x.shape
    if channels > 1:
        return x.contiguous(memory_format=torch.channels_last)
    # with one channel both layouts are the same bytes and only the strides tell a convolution which one is meant
    return x.reshape(rows, height, width, 1).permute(0, 3, 1, 2)


def _per_channel(values: tuple[float, ...] | None, device: torch.device, dtype: torch.dtype) -> Tensor | None:
    return None if values is None else torch.tensor(values, device=device, dtype=dtype).view(1, -1, 1, 1)
