"""Classification data sets of torchvision on this disk: `torchvision:CIFAR10?root=FOLDER&split=test`.

torchvision reads the files and checks their hashes; demur scales the images by its own rules. Nothing is fetched unless
the address says `download=yes`.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from demur.class_names.class_list import class_list, numbered_doubles
from demur.data.decoded_list import DecodedListSource, decoded_list_source
from demur.data.decoding import HOSTILE, Decoded, decode_picture, first_line
from demur.data.source import UNREAD, Row, location_of
from demur.data.table_columns import Labels
from demur.errors import AddressError, DataError, brief, missing_extra, unknown
from demur.pictures.decode_rules import DECODE_OPTIONS, Rules
from demur.registry import Address
from demur.splits import SPLIT_NAMES

SETS: Mapping[str, str] = {
    "CIFAR10": "test", "CIFAR100": "test", "Caltech101": "", "Caltech256": "", "Country211": "test", "DTD": "test",
    "EMNIST": "test", "EuroSAT": "", "FER2013": "test", "FGVCAircraft": "test", "FashionMNIST": "test",
    "Flowers102": "test", "Food101": "test", "GTSRB": "test", "ImageNet": "val", "Imagenette": "val", "KMNIST": "test",
    "MNIST": "test", "OxfordIIITPet": "test", "PCAM": "test", "Places365": "val", "QMNIST": "test",
    "RenderedSST2": "test", "SEMEION": "", "STL10": "test", "SUN397": "", "SVHN": "test", "StanfordCars": "test",
    "USPS": "test",
}  # fmt: skip
"""The sets that are read, and the split that is meant without a word; empty where a set has none."""

_BY_TRAIN = frozenset({"CIFAR10", "CIFAR100", "EMNIST", "FashionMNIST", "KMNIST", "MNIST", "QMNIST", "USPS"})
"""Those whose split is told by `train=`."""

_VARIANTS: Mapping[str, str] = {"EMNIST": "split", "FGVCAircraft": "annotation_level", "Imagenette": "size"}
"""Those that there are several of, and what torchvision calls the choice."""

_NEVER_FETCHED = frozenset({"FER2013", "ImageNet"})
_LABELS = ("targets", "labels", "_labels", "y")
_SAMPLES = ("samples", "_samples")


def open_source(address: Address) -> DecodedListSource:
    """Open one split of a set; ids are the split and positions, class names those of torchvision."""
    address.only(("root", "split", "variant", "download", "classes", *DECODE_OPTIONS))
    name, options = location_of(address), address.options
    if name not in SETS:
        raise unknown("data set of torchvision for classification", name, SETS)
    split = options.get("split", SETS[name])
    dataset = _dataset_of(name, split, options)
    numbers = labels_in(dataset)
    names = class_list(options["classes"]) if "classes" in options else names_in(dataset, numbers)
    labels = Labels(tuple(names), numbered=True)
    own = SPLIT_NAMES.get("train" if split.startswith("train") else split)
    rows = (
        Row(f"{split or 'all'}/{at:06d}", None, labels.number(number, f"{name}, image {at}"), split=own, error=UNREAD)
        for at, number in enumerate(numbers)
    )
    return decoded_list_source(address.text, labels.classes, rows, partial(_decode, dataset), Rules.of(options))


def _dataset_of(name: str, split: str, options: Mapping[str, str]) -> Any:
    try:
        from torchvision import datasets
    except ImportError as error:
        raise missing_extra("a torchvision: data set", "torchvision") from error
    arguments = _arguments(name, split, options)
    try:
        return getattr(datasets, name)(**arguments)
    except (*HOSTILE, ImportError) as error:
        online = arguments.get("download")
        way_out = "" if online or name in _NEVER_FETCHED else "; ?download=yes fetches it"
        raise DataError(
            f"torchvision cannot open {name} below {options['root']}: {brief(first_line(error))}. Check root and "
            f"split{way_out}."
        ) from error


def _arguments(name: str, split: str, options: Mapping[str, str]) -> dict[str, Any]:
    """What torchvision is told."""
    if "root" not in options:
        raise AddressError(
            f"torchvision:{name} needs the folder that torchvision keeps it in. Write torchvision:{name}?root=FOLDER."
        )
    fetch = options.get("download", "no")
    if fetch not in ("yes", "no") or (fetch == "yes" and name in _NEVER_FETCHED):
        raise AddressError(
            f"`download` must be yes or no, and no for {', '.join(sorted(_NEVER_FETCHED))}; got {brief(fetch)!r} for "
            f"{name}. Leave it out for no."
        )
    if "variant" in options and name not in _VARIANTS:
        raise AddressError(f"{name} has no variants, as {', '.join(_VARIANTS)} have. Leave `variant` out.")
    chosen: dict[str, Any] = {"root": options["root"]}
    chosen |= {} if name in _NEVER_FETCHED else {"download": fetch == "yes"}
    chosen |= {_VARIANTS[name]: options["variant"]} if "variant" in options else {}
    return chosen | _split_argument(name, split)


def _split_argument(name: str, split: str) -> dict[str, Any]:
    if not SETS[name]:
        if split:
            raise AddressError(f"{name} has no splits; got split={brief(split)}. Leave it out.")
        return {}
    if name not in _BY_TRAIN:
        return {"split": split}
    if split not in ("train", "test"):
        raise AddressError(f"`split` of {name} is train or test; got {brief(split)!r}.")
    return {"train": split == "train"}


def labels_in(dataset: Any) -> list[int]:
    """The label of every image; from a list that the data set keeps where that says the same as its items do."""
    rows = len(dataset)
    kept = [getattr(dataset, name, None) for name in _LABELS]
    kept += [_second(getattr(dataset, name, None)) for name in _SAMPLES]
    for each in kept:
        numbers = _whole(each, rows)
        if numbers and all(numbers[at] == int(dataset[at][1]) for at in {0, rows // 2, rows - 1}):
            return numbers
    return [int(dataset[at][1]) for at in range(rows)]


def _second(samples: Any) -> Any:
    return [each[1] for each in samples] if isinstance(samples, (list, tuple)) and samples else None


def _whole(labels: Any, rows: int) -> list[int]:
    """A list of one whole number for each row; empty where it is none."""
    try:
        found = [int(label) for label in labels]
    except (TypeError, ValueError):
        return []
    return found if len(found) == rows else []


def names_in(dataset: Any, numbers: Sequence[int]) -> Sequence[str]:
    """The class names that a data set brings along, the first of several, numbered where two are alike."""
    found = getattr(dataset, "classes", None) or getattr(dataset, "categories", None)
    if not isinstance(found, (list, tuple)) or len(found) <= max(numbers, default=0):
        return [str(number) for number in range(1 + max(numbers, default=0))]
    return numbered_doubles([str(name[0] if isinstance(name, (list, tuple)) else name).strip() for name in found])


def _decode(dataset: Any, position: int, channels: int | None, rules: Rules) -> Decoded:
    try:
        return decode_picture(dataset[position][0], channels, rules)
    except HOSTILE as error:
        return None, f"cannot decode the image: {first_line(error)}"
