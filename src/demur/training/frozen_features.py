"""What frozen layers make of each image, computed once: epochs of a head alone then cost what the head costs."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from demur.shapes import Images, Logits
from demur.training.backbone import Backbone, evaluating
from demur.training.batches import TrainingImages, shuffle, unpack

ROOM = 3 << 30
"""Bytes of features held in memory at most, and at most half of what the machine has."""

_BATCH, _PROBE = 128, 2

Ends = tuple[Callable[[Images], Tensor], Callable[[Tensor], Logits]]
Rows = Sequence[tuple[Tensor, int]]


@runtime_checkable
class Stacked(Protocol):
    """A network that is a head on maps of a backbone."""

    def features(self, images: Images) -> Tensor:
        """The maps."""

    def answer(self, maps: Tensor) -> Logits:
        """The logits."""


class Way(NamedTuple):
    """What an epoch runs, and on what: a network on images, or the part above the frozen one on its features."""

    network: nn.Module
    rows: TrainingImages


class Above(nn.Module):
    """The part of a network above its frozen layers, as a network of its own; it owns no weights."""

    def __init__(self, answer: Callable[[Tensor], Logits]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, features: Tensor) -> Logits:
        """Logits (rows, classes)."""
        return in_single(self.answer(features))


def in_single(logits: Logits) -> Logits:
    """Logits in single precision where mixed precision made them coarser: losses are taken in it."""
    return logits.float() if logits.dtype == torch.bfloat16 else logits


@runtime_checkable
class Scaled(Protocol):
    """A network behind its normalisation."""

    network: nn.Module

    def scaled(self, images: Images) -> Images:
        """What the network is given."""


def shortcut(student: nn.Module, backbone: Backbone, images: TrainingImages) -> Way | None:
    """The way over features; None where they are too large, the images are streamed, or the network cannot be cut.

    Features are computed in the order of the set, whatever the order of an epoch, so that a training that is continued
    has the same.
    """
    ends = _ends(student, backbone)
    if ends is None or images.memory is None:
        return None
    below, above = ends
    first = below(_stacked(images.memory[:_PROBE]))
    large = first[0].nbytes * len(images.memory) > _room()
    if large or first.requires_grad or not _agree(student, ends, images.memory[:_PROBE]):
        return None
    rows: list[tuple[Tensor, int]] = []
    for start in range(0, len(images.memory), _BATCH):
        chunk = images.memory[start : start + _BATCH]
        rows.extend(zip(below(_stacked(chunk)).unbind(), (label for _, label in chunk), strict=True))
    return Way(Above(above), TrainingImages(images.counts, lambda dice: shuffle(rows, dice), len(rows), rows))


def _stacked(rows: Rows) -> Images:
    return torch.stack([unpack(image) for image, _ in rows]).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def _agree(student: nn.Module, ends: Ends, rows: Rows) -> bool:
    """Whether both halves one after the other answer what the network does."""
    images, (below, above) = _stacked(rows), ends
    with evaluating(student):
        return torch.allclose(above(below(images)), student(images), rtol=1e-4, atol=1e-5)


def _ends(student: nn.Module, backbone: Backbone) -> Ends | None:
    """From images to features (rows, channels, height, width), and on to logits; None where there is no such place."""
    if isinstance(student, Scaled) and isinstance(student.network, Stacked):
        whole, network = student, student.network
        return (lambda images: network.features(whole.scaled(images))), network.answer
    if not backbone.layer:
        return None
    layer = student.get_submodule(backbone.layer)
    if any(each.training and each is not layer and not list(each.children()) for each in student.modules()):
        return None  # something beneath the layer draws or counts, such as dropout

    def below(images: Images) -> Tensor:
        with _input_of(layer) as taken:
            student(images)
        return taken[0][:, :, None, None]

    return below, lambda features: layer(features.flatten(start_dim=1))


@contextmanager
def _input_of(layer: nn.Module) -> Iterator[list[Tensor]]:
    taken: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _layer, inputs: taken.append(inputs[0]))
    try:
        yield taken
    finally:
        hook.remove()


def _room() -> int:
    return min(ROOM, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)
