"""The model of a guard: by address and hash, with its weights inside, or whole as an exported program."""

import io
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from demur.adapters import load_model
from demur.adapters.exported_program import refuse_pickles, without_samples
from demur.adapters.weights import is_pickle, manifest_of, read_weights
from demur.classifier import BoundClassifier
from demur.classifier.plain_module import PlainModule
from demur.errors import InputError, ModelError
from demur.files import write_atomically
from demur.foreign import reason
from demur.registry import Address
from demur.registry.addresses import ENSEMBLE, member_addresses

Embedding: TypeAlias = Literal["none", "weights", "program"]

WEIGHTS = "model/weights-{}.safetensors"
PROGRAM = "model/program.pt2"
ROOM = "model"


@dataclass(frozen=True, kw_only=True)
class ModelPlace:
    """Where the model of a guard is.

    Attributes:
        address: where it was loaded from; None where it was an object in memory.
        sha256: the hash of the classifier that was certified.
        stored: of the classifier as it is loaded from this folder, which of an exported program is another one.
        embedding: what of it is in the folder.
        classes: in the order of the logits.
        input_shape: (channels, height, width).
        name: how reports call it.
    """

    address: str | None
    sha256: str
    stored: str
    embedding: Embedding
    classes: tuple[str, ...]
    input_shape: tuple[int, int, int]
    name: str


def write_model(
    folder: Path, classifier: BoundClassifier, address: str | None, embedding: Embedding = "none"
) -> ModelPlace:
    """Put into a folder what is to be embedded of a model.

    Raises:
        InputError: it cannot be embedded so, or was given as an object and nothing is embedded.
        ModelError: it cannot be exported.
    """
    place = ModelPlace(
        address=address,
        sha256=classifier.sha256,
        stored=classifier.sha256,
        embedding=embedding,
        classes=classifier.classes,
        input_shape=classifier.input_shape,
        name=classifier.name,
    )
    if embedding == "program":
        write_atomically(folder / PROGRAM, exported_program(classifier))
        return replace(place, stored=_program(folder, place).sha256)
    if address is None:
        raise InputError(
            "this model was given as an object, so it cannot be loaded again from an address. Embed it as a program "
            '(embed="program"), or name its address.'
        )
    if embedding == "weights":
        _copy_weights(folder, address)
        if read_model(folder, place).sha256 != place.sha256:
            raise ModelError(f"the weights of {address} make another model when they are loaded again.")
    return place


def _copy_weights(folder: Path, text: str) -> None:
    sources = _weights_of(text)
    if not sources:
        raise InputError(
            f"the address {text!r} names no file of weights to embed. Leave embedding out if the model comes with "
            'demur or a package, or embed it as a program (embed="program").'
        )
    (folder / WEIGHTS).parent.mkdir(parents=True, exist_ok=True)
    for place, source in enumerate(sources):
        tensors, target = read_weights(source), folder / WEIGHTS.format(place)  # a file that is none is named
        if is_pickle(Path(source)):
            save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, target)
        else:
            shutil.copyfile(source, target)
        if manifest_of(Path(source)).is_file():  # without it weights that name one are refused
            shutil.copyfile(manifest_of(Path(source)), manifest_of(target))


def _weights_of(text: str) -> list[str]:
    """The files of weights that an address names, those of an ensemble in the order of its members."""
    address = Address.parse(text, "model")
    if address.scheme == ENSEMBLE:
        return [weights for member in member_addresses(address.location) for weights in _weights_of(member)]
    return [] if address.weights is None else [address.weights]


def _with_weights(text: str, files: Iterator[str]) -> str:
    """The address with other files of weights, in the same order."""
    address = Address.parse(text, "model")
    if address.scheme == ENSEMBLE:
        return f"{ENSEMBLE}:{','.join(_with_weights(member, files) for member in member_addresses(address.location))}"
    return text if address.weights is None else replace(address, weights=next(files)).text


def copy_model(before: Path, folder: Path, place: ModelPlace) -> ModelPlace:
    """Put what another guard has inside of its model into a folder."""
    if (before / ROOM).is_dir():
        shutil.copytree(before / ROOM, folder / ROOM)
    return place


def read_model(folder: Path, place: ModelPlace) -> BoundClassifier:
    """The model of a guard; it must be the one that was certified.

    Raises:
        AddressError: its address leads nowhere.
        ModelError: another model is there.
    """
    if place.embedding == "program":
        found = _program(folder, place)
    elif place.address is None:
        raise InputError(f"{folder} says neither where its model is nor has it inside. Fit the guard again.")
    else:
        found = load_model(_address(folder, place), classes=place.classes, input_shape=place.input_shape)
    if found.sha256 != place.stored:
        raise ModelError(
            f"the model at {place.address or PROGRAM} is not the one this guard was certified for: its hash is "
            f"{found.sha256[:16]}… and must be {place.stored[:16]}…. Bring that model back, or fit the guard again."
        )
    return found


def _address(folder: Path, place: ModelPlace) -> str:
    text = str(place.address)
    inside = (str(folder / WEIGHTS.format(number)) for number in count())
    return _with_weights(text, inside) if place.embedding == "weights" else text


class Program(nn.Module):
    """An exported program behind a module that may be put into evaluation mode, which it is always in."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program
        for layer in self.modules():
            layer.training = False  # a flag alone: `eval` of an exported program raises

    def forward(self, images: Tensor) -> Tensor:
        """Logits (rows, classes) of images (rows, channels, height, width) in [0, 1]."""
        return self.program(images)

    def train(self, mode: bool = True) -> "Program":  # noqa: FBT001, FBT002 - as torch has it
        """Itself: what was exported in evaluation mode stays so."""
        del mode
        return self


def exported_program(classifier: BoundClassifier) -> bytes:
    """The classifier, from images to logits, as a `.pt2` archive without its pickled sample inputs.

    Raises:
        ModelError: it cannot be exported; with the cause.
    """
    probe = torch.stack([torch.full(classifier.input_shape, level) for level in (0.25, 0.5, 0.75)])
    rows = torch.export.Dim("rows", min=2, max=4096)
    try:
        with torch.no_grad():
            program = torch.export.export(PlainModule(classifier), (probe,), dynamic_shapes=({0: rows},), strict=False)
            whole = io.BytesIO()
            torch.export.save(program, whole)
    except Exception as error:  # tracing runs foreign code, which may raise anything
        raise ModelError(
            f"the model {classifier.name} cannot be embedded as a program: {reason(error)}. Name an address with "
            "weights and embed these, or keep the model by its address."
        ) from error
    return without_samples(whole.getvalue())


def _program(folder: Path, place: ModelPlace) -> BoundClassifier:
    path = folder / PROGRAM
    refuse_pickles(path, "Fit the guard again.")
    try:
        module = torch.export.load(path).module()
    except Exception as error:  # a damaged archive may raise anything
        raise ModelError(f"{path} cannot be loaded as an exported program: {reason(error)}.") from error
    return BoundClassifier(
        Program(module), classes=place.classes, input_shape=place.input_shape, output="logits", name=place.name
    )
