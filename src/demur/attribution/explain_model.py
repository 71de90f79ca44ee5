"""The classifier at an address, where no data say which classes and which size it is for."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from demur.adapters import load_model
from demur.adapters.address_options import Options
from demur.adapters.architectures import build_from_zoo
from demur.adapters.declarations import declared
from demur.adapters.own_module import build_own
from demur.adapters.state_dicts import without_prefixes
from demur.adapters.weights import read_weights
from demur.attribution.explain_run import PictureFile
from demur.classifier import BoundClassifier, Classifier
from demur.data.task_refusals import MOST_CLASSES
from demur.errors import AddressError, DataError, InputError, ModelError
from demur.pictures.decode_rules import Rules
from demur.registry import SHIPPED, Address
from demur.registry.regular_files import MIB, content_of, reason

_BUILDERS: Mapping[str, Callable[[str, int, int], nn.Module]] = {"module": build_own, "zoo": build_from_zoo}
_FASHION = ((1, 28, 28), 10)
_GUESS = 2

Shape = tuple[int, int, int]


def open_model(text: str, pictures: Sequence[PictureFile], names: Path | None = None) -> BoundClassifier:
    """The classifier at an address; what the address leaves open is found out where that can be done for sure.

    Classes come from the option `classes`, from `names`, a file with one name a line, or are counted and called "0",
    "1", …; channels from `channels` or several numbers of `mean`, else from the pictures; the size from `size`, else
    from the pictures where all have the same. What the model's own source declares comes before what pictures tell.

    Raises:
        AddressError: the address leads nowhere, or leaves open what cannot be found out.
        ModelError: what is there breaks the contract of a classifier.
    """
    address = Address.parse(text, "model")
    if names is not None and (address.scheme in SHIPPED or "classes" in address.options):
        raise InputError(f"the classes of {text!r} are named already. Leave out --classes {names}, or the other names.")
    if address.scheme in SHIPPED:
        shape, count = _FASHION
        return load_model(text, classes=_numbers(count), input_shape=shape)
    stated = declared(text)
    shape = stated.input_shape or _shape(address, pictures)
    given = _class_names(names) if names else stated.classes
    if given is None and "classes" not in address.options:
        given = _numbers(stated.outputs or _class_count(address, text, shape))
    return load_model(text, classes=given or ("0", "1"), input_shape=shape)


def _numbers(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))


def _class_names(path: Path) -> tuple[str, ...]:
    try:
        text = content_of(path, MIB).decode("utf-8-sig")
        names = tuple(" ".join(line.split()) for line in text.splitlines() if line.strip())
    except OSError as error:
        why = reason(error)
    except UnicodeDecodeError:
        why = "it is no text in UTF-8"
    else:
        return names
    raise InputError(f"--classes takes a text file with one class name a line; {path} cannot be read: {why}.")


def _shape(address: Address, pictures: Sequence[PictureFile]) -> Shape:
    """(channels, height, width) as the address has them, and where it leaves them open as the pictures have them."""
    options = Options.read(address, ("0", "1"), (0, 0, 0))
    channels, height, width = options.input_shape
    channels = channels or len(options.mean or options.std or ())
    if channels and height:
        return channels, height, width
    if not pictures:
        raise AddressError(
            f"{address.scheme}:{address.location} does not say which images it reads, and none are here. Write it "
            "at the end of the address: ?size=32&channels=3."
        )
    seen = _shapes(pictures)
    if not height:
        height, width = _one_size(seen, address)
    return channels or max(shape[0] for shape in seen), height, width


def _shapes(pictures: Sequence[PictureFile]) -> list[Shape]:
    answers = [picture.read(Rules())[0] for picture in pictures]
    shapes = [(image.shape[0], image.shape[1], image.shape[2]) for image, _ in answers if image is not None]
    if not shapes:
        raise DataError(f"none of {len(pictures)} images can be read; the first says: {answers[0][1]}.")
    return shapes


def _one_size(shapes: Sequence[Shape], address: Address) -> tuple[int, int]:
    sizes = sorted({shape[1:] for shape in shapes})
    if len(sizes) > 1:
        small, large = ("×".join(map(str, size)) for size in (sizes[0], sizes[-1]))
        raise AddressError(
            f"the images come in {len(sizes)} sizes, from {small} to {large}, and {address.scheme}:{address.location} "
            "does not say which it reads. Write it at the end of the address: ?size=224, or ?size=HEIGHTxWIDTH."
        )
    return sizes[0]


def _class_count(address: Address, text: str, shape: Shape) -> int:
    """How many classes a model answers with: what fits its weights, else what comes out."""
    if address.scheme not in _BUILDERS:
        raise AddressError(
            f"{text!r} does not say its classes. Write them at its end: ?classes=cat,dog, or give --classes FILE."
        )
    build = _BUILDERS[address.scheme]
    made = build(address.location, shape[0], _GUESS)
    if address.weights is not None:
        wanted = made.state_dict()
        heads = list(_heads(wanted, without_prefixes(read_weights(address.weights), wanted)[0]))
        if heads:
            return heads[-1]
    width = _width_by_shapes(made, shape)
    if width <= MOST_CLASSES:
        width = _width(made, shape, text, address.options.get("output", "logits"))
    if width > MOST_CLASSES:
        raise ModelError(
            f"{text!r} does not say its classes, and the model gives {width:,} outputs for an image of shape {shape}, "
            f"more than the {MOST_CLASSES:,} classes that are read. Write the ?size=… it was made for at its end."
        )
    return max(_GUESS, width)


def _width_by_shapes(made: nn.Module, shape: Shape) -> int:
    """How many outputs there would be, by shapes alone, before a huge image is computed; 0 where code needs values."""
    try:
        with torch.no_grad():
            found = copy.deepcopy(made).eval().to("meta")(torch.empty(1, *shape, device="meta"))
    except Exception:  # noqa: BLE001 - foreign code may raise anything; then it is asked with values
        return 0
    return found.flatten(1).shape[1] if isinstance(found, Tensor) and found.ndim > 1 else 0


def _heads(built: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> Iterator[int]:
    """What stands where the network has the guessed number of classes."""
    for name, tensor in built.items():
        other = found.get(name, tensor)
        if tensor.ndim and other.ndim == tensor.ndim and other.shape[1:] == tensor.shape[1:] and len(tensor) == _GUESS:
            yield len(other)


def _width(made: nn.Module, shape: Shape, text: str, output: str) -> int:
    try:
        made.eval()  # one of one's own may return nothing
        return len(Classifier(made, output=output).numbered(torch.zeros(1, *shape)))
    except Exception as error:  # foreign code may raise anything
        raise ModelError(
            f"{text!r} does not say its classes, and the model could not be asked with images of shape {shape}: "
            f"{str(error).partition(chr(10))[0][:200]}. Write ?classes=…, ?size=… and ?channels=… at its end."
        ) from error
