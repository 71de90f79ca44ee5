"""A training task: architecture, rows, recipe and seed, all of it resolved before the first step."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from demur.adapters.architectures import Architecture
from demur.adapters.starting_weights import Start
from demur.adapters.weights import KEY, manifest_text
from demur.classifier import BoundClassifier
from demur.data import Index, Source, build_index
from demur.errors import DataError
from demur.registry import build, describe, parse
from demur.splits import assign_splits, unit_hashes
from demur.training.backbone import Backbone
from demur.training.batches import TrainingImages, fresh, gather
from demur.training.recipe import Recipe

SHARE = 0.60

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TrainingSplit:
    """Rows of an index.

    Attributes:
        learned: to learn from; all of them readable.
        tuned: set aside, readable, and free to be looked at; the rest is left for `certify` and `test`.
        own: whether the data came with this split.
    """

    learned: Rows
    tuned: Rows
    own: bool


def split(index: Index) -> TrainingSplit:
    """The data's own split where it has one; else 60 % of the units, drawn by a hash of the unit's hash.

    The draw says nothing about the split a unit has in a later audit: an audit without the learned rows deals the
    others out as if they were all there is, and the rows tuned on here are among its `tune` rows.

    Raises:
        DataError: the data's own split calls every row held out.
    """
    own = "train" in index.own_splits
    units = unit_hashes(index.contents, index.groups)
    readable = np.array([error is None for error in index.errors])
    learned = readable & (np.array([name == "train" for name in index.own_splits]) if own else _drawn(index, units))
    if not learned.any():
        raise DataError(
            "there are no images to learn from: the data's own split calls all of them held out. Name the images to "
            "learn from 'train', or leave the split out and 60 % are set aside for training."
        )
    seen = {index.contents[row] for row in np.flatnonzero(learned).tolist()}
    others = np.array([content not in seen for content in index.contents])
    held_out = others & np.array([name != "train" for name in index.own_splits])
    splits = assign_splits(index.own_splits, units, int(held_out.sum()))
    tuned = held_out & readable & np.array([split == "tune" for split in splits])
    return TrainingSplit(np.flatnonzero(learned), np.flatnonzero(tuned), own)


def learns(unit_hash: str) -> bool:
    """Whether a unit is among the 60 % to learn from.

    >>> learns("ff" * 32)
    False
    """
    place = int(hashlib.sha256(f"train\x1f{unit_hash}".encode()).hexdigest()[:16], 16) / 2**64
    return place < SHARE


def _drawn(index: Index, units: Sequence[str]) -> NDArray[np.bool_]:
    """60 % of the units that no split of the user's holds out.

    Where it calls all rows the same, it tells none from the others: who asks to learn from such a set means its rows.
    """
    alike = len(set(index.own_splits)) == 1
    held_out = {unit for unit, name in zip(units, index.own_splits, strict=True) if name is not None and not alike}
    return np.array([unit not in held_out and learns(unit) for unit in units])


@dataclass(frozen=True, eq=False)
class TrainingTask:
    """A network before its first step, images to learn from and a recipe."""

    architecture: Architecture
    network: nn.Module
    source: Source
    index: Index
    parts: TrainingSplit
    recipe: Recipe
    recipe_name: str
    seed: int
    start: Start
    backbone: Backbone | None

    @classmethod
    def of(cls, architecture: str, source: Source, recipe: str, seed: int) -> "TrainingTask":
        """The task behind some names; reads all images once.

        Raises:
            InputError: something given cannot be used, or does not fit the rest.
        """
        built: Recipe = build("recipe", recipe)
        made = Architecture.read(architecture, classes=source.classes, input_shape=source.input_shape)
        start = fresh(made.begin, seed)
        classifier = made.options.wrap(start.network)  # refuses what does not fit the data before the images are read
        _admit(built, classifier)
        found, name = Backbone.of(start, classifier, built), describe(parse(recipe).name, built)
        backbone = None if found is None else found.within("network.")  # as the loop sees it, behind its scaling
        index = build_index(source)
        return cls(made, start.network, source, index, split(index), built, name, seed, start, backbone)

    def classifier(self) -> BoundClassifier:
        """The network as it is now, in evaluation mode."""
        return self.architecture.options.wrap(self.network)

    def training_images(self) -> TrainingImages:
        """The images to learn from."""
        learned = self.parts.learned
        labels = torch.from_numpy(self.index.labels[learned])
        return gather(self.source, self.index.positions[learned].tolist(), labels)

    @property
    def manifest(self) -> bytes:
        """The content hashes of the images to learn from."""
        return manifest_text(frozenset(self.index.contents[row] for row in self.parts.learned))

    @property
    def folder(self) -> Path:
        """`models/<architecture>-<data>-<8 digits>`: the same task finds its folder again."""
        told = (self.architecture.name, self.source.address, self.recipe_name, str(self.seed))
        parts = [re.sub(r"[^a-z0-9]+", "_", _stem(text).lower()).strip("_") for text in told[:2]]
        return Path("models") / f"{parts[0]}-{parts[1]}-{_sha256(repr(told).encode())[:8]}"

    def note(self) -> Mapping[str, str]:
        """What must be the same for a folder to be continued; of the network as it is before the first step."""
        return {
            "architecture": self.architecture.name,
            "untrained network": self.classifier().sha256[:16],
            "data": self.source.address,
            "images and labels": self.index.sha256[:16],
            "images learned from": _sha256(self.manifest)[:16],
            "recipe": self.recipe_name,
            "seed": str(self.seed),
        }

    def metadata(self) -> Mapping[str, str]:
        """What the file of weights says beside them."""
        options = self.architecture.options
        given = {"mean": options.mean, "std": options.std}
        return {
            "architecture": self.architecture.name,
            "classes": ",".join(options.classes),
            "input_shape": ",".join(map(str, options.input_shape)),
            "recipe": self.recipe_name,
            KEY: _sha256(self.manifest),
            **{name: ",".join(map(str, values)) for name, values in given.items() if values is not None},
        }


def _admit(recipe: Recipe, classifier: BoundClassifier) -> None:
    """Let a recipe refuse a network that it cannot train, where it is particular."""
    check = getattr(recipe, "admit", None)
    if check is not None:
        check(classifier)


def _stem(address: str) -> str:
    """The telling part of an address: a name, or that of a file."""
    return Path(address.partition("?")[0].partition("@")[0].rpartition(":")[2] or address).stem


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
