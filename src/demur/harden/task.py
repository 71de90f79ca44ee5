"""What is to be learned, from what and how, all of it settled before the first step."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from demur.adapters.architectures import Architecture
from demur.adapters.manifest import KEY, manifest_text
from demur.classifier import Classifier
from demur.data import Index, Source, build_index
from demur.harden.lessons import Lessons, gather
from demur.harden.recipe import Recipe
from demur.harden.seeded import fresh
from demur.harden.split import Split, split
from demur.registry import build, describe, parse


@dataclass(frozen=True, eq=False)
class Task:
    """An untrained network, images to learn from and a recipe."""

    architecture: Architecture
    network: nn.Module
    source: Source
    index: Index
    parts: Split
    recipe: Recipe
    recipe_name: str
    seed: int

    @classmethod
    def of(cls, architecture: str, source: Source, recipe: str, seed: int) -> "Task":
        """The task behind some names; reads all images once.

        Raises:
            InputError: something given cannot be used, or does not fit the rest.
        """
        built: Recipe = build("recipe", recipe)
        made = Architecture.read(architecture, classes=source.classes, input_shape=source.input_shape)
        network = fresh(made.build, seed)
        made.options.wrap(network)  # refuses a network that does not fit the data before the images are read
        index = build_index(source)
        return cls(made, network, source, index, split(index), built, describe(parse(recipe).name, built), seed)

    def classifier(self) -> Classifier:
        """The network as it is now, in evaluation mode."""
        return self.architecture.options.wrap(self.network)

    def lessons(self) -> Lessons:
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


def _stem(address: str) -> str:
    """The telling part of an address: a name, or that of a file."""
    return Path(address.partition("?")[0].partition("@")[0].rpartition(":")[2] or address).stem


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
