"""What models that lie whole in one file have in common: the address, the hash, and how many images go in at once."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from demur.adapters.address_options import Options
from demur.adapters.declarations import Declaration
from demur.adapters.weights import learned_from
from demur.classifier import BoundClassifier
from demur.classifier.first_answer import made_up_images
from demur.classifier.fixed_batch import FixedBatch
from demur.classifier.outputs import parts_of
from demur.errors import AddressError
from demur.pictures.decode_rules import Rules
from demur.registry import Address

_SIZES = (1, 2, 3, 4, 8, 16, 32, 64, 100, 128, 256)
"""Batches that are tried on a program, to find one that it takes."""

_MOST = max(_SIZES)
_SAME = 1e-4

_BLOCK = 1 << 20


def file_of(address: Address) -> Path:
    """The file of a program, in whose path an @ is a letter like any other.

    Raises:
        AddressError: the address names none.
    """
    text = address.location if address.weights is None else f"{address.location}@{address.weights}"
    if not text:
        raise AddressError(f"{address.scheme}: must name a file. Write {address.scheme}:FILE.")
    return Path(text)


def named_options(address: Address, classes: Sequence[str], input_shape: tuple[int, int, int]) -> Options:
    """The options of an address of a file, whose name is the model's where none is said."""
    options = Options.read(address, classes, input_shape)
    return options if "name" in address.options else replace(options, name=file_of(address).stem)


def declared_shape(whose: str, shape: tuple[int, int, int] | None, outputs: int | None) -> Declaration:
    """What a program says of the images it takes: their shape, and nothing of how pictures become such."""
    if shape is None:
        return Declaration(outputs=outputs, words=(f"{whose} takes images of any size, and says nothing of pictures",))
    channels, height, width = shape
    sides = " × ".join(map(str, shape))
    return Declaration(
        rules=Rules(size=(height, width), channels=channels if channels in {1, 3} else None),
        outputs=outputs,
        input_shape=shape,
        words=(f"{whose} takes images of {sides}, and says nothing of how pictures are cut, scaled and normalised",),
        shape_alone=True,
    )


def for_any_batch(program: nn.Module, input_shape: tuple[int, int, int], dtype: torch.dtype) -> tuple[nn.Module, int]:
    """The program, behind a loop where it takes only a fixed number of images, and that number; 0 where it takes any.

    What answers no number that is tried is given back as it is: the contract of a classifier says what it lacks.
    """
    images = made_up_images((_MOST * input_shape[0], *input_shape[1:]), torch.device("cpu"), dtype)
    images = images[0].view(_MOST, *input_shape)
    rows = next((rows for rows in _SIZES if _answer(program, images[:rows]) is not None), 0)
    if not rows or (rows < 3 and _is_free(program, rows, images[:3])):
        return program, 0
    return FixedBatch(program, rows), rows


def _is_free(program: nn.Module, rows: int, images: Tensor) -> bool:
    """Whether a program answers three images at once as it does fewer; a number of rows that it holds may spoil it."""
    together, apart = _answer(program, images), _answer(FixedBatch(program, rows), images)
    if together is None or apart is None:
        return False
    return all(torch.allclose(one, other, rtol=_SAME, atol=_SAME) for one, other in zip(together, apart, strict=True))


def _answer(program: nn.Module, images: Tensor) -> list[Tensor] | None:
    """The tensors that a program answers some images with; None where it does not."""
    try:
        with torch.no_grad():
            raw = program(images.clone())
    except Exception:  # noqa: BLE001 - that it fails is what is asked
        return None
    parts = [raw] if isinstance(raw, Tensor) else list(parts_of(raw).values())
    fitting = [part for part in parts if part.ndim > 0 and len(part) == len(images)]
    return fitting or None


def with_identity(module: nn.Module, path: Path) -> None:
    """Note in the module, where its hash sees it, the content of the file that it came from: a graph is no weight."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    module.register_buffer("content_sha256", torch.tensor(list(digest.digest()), dtype=torch.uint8))


def batch_words(rows: int) -> list[str]:
    """What is said of a program that takes a fixed number of images."""
    many = "one image" if rows == 1 else f"{rows} images"
    return [f"the program takes {many} at a time, so it is asked again and again"] if rows else []


def bound_program(
    options: Options, module: nn.Module, path: Path, notes: Sequence[str], dtype: torch.dtype = torch.float32
) -> BoundClassifier:
    """The classifier of a program in evaluation mode, whatever number of images it takes."""
    whole, rows = for_any_batch(module, options.input_shape, dtype)
    with_identity(whole, path)
    return options.wrap(whole, learned_from(str(path)), [*notes, *batch_words(rows)])
