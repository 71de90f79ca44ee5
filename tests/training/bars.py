"""Bright top against bright bottom: images that a small network learns in seconds."""

import torch
from torch import nn

from demur.data import from_tensors
from demur.data.source import Row
from demur.training import Standard, gather
from demur.zoo import CompactResNet

CLASSES = ("top", "bottom")
RECIPE = Standard(epochs=8, batch=16, learning_rate=0.05, shift=1)


def small():
    return nn.Sequential(CompactResNet(classes=2, width=4), nn.Dropout(0.1))


def bars(rows=64, groups=None, classes=CLASSES):
    labels = torch.arange(rows) % 2
    images = torch.rand(rows, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.3
    images[labels == 0, :, :4] += 0.7
    images[labels == 1, :, 4:] += 0.7
    return from_tensors(images, labels, classes=classes, groups=groups, name="bars")


def training_images(rows=64, **given):
    return gather(bars(rows), range(rows), torch.arange(rows) % 2, **given)


class Told:
    """A source whose rows have a split of their own, or an error."""

    def __init__(self, whole, splits=None, unreadable=()):
        self._whole, self._splits, self._unreadable = whole, splits, frozenset(unreadable)
        self.address, self.classes, self.input_shape = whole.address, whole.classes, whole.input_shape

    def __len__(self):
        return len(self._whole)

    def read(self, positions):
        for position, row in zip(positions, self._whole.read(positions), strict=True):
            bad = position in self._unreadable
            split = None if self._splits is None else self._splits[position]
            image, error = (None, "cut short") if bad else (row.image, None)
            yield Row(row.sample_id, image, row.label, row.group, error, split=split)


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
