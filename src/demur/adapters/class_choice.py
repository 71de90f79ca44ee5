"""`?classes=data`, `?classes=@map.csv` and `?finding=NAME`: a model asked about other classes than its own outputs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from demur.class_names import ClassMap, is_class_map, meeting, read_class_map
from demur.class_names.class_meeting import plain
from demur.errors import AddressError, unknown
from demur.registry import Address

if TYPE_CHECKING:
    from demur.classifier import BoundClassifier

OF_THE_DATA = "data"
"""The value of `classes` that asks a model about the classes of the data alone."""

FINDING = "finding"


class Load(Protocol):
    """Loads a classifier from an address for data of some classes and shape."""

    def __call__(
        self, address: Address, classes: Sequence[str], input_shape: tuple[int, int, int], /
    ) -> "BoundClassifier": ...


def chooses(address: Address) -> bool:
    """Whether an address asks a model about other classes than its outputs."""
    classes = address.options.get("classes", "")
    return FINDING in address.options or classes == OF_THE_DATA or is_class_map(classes)


def chosen(
    address: Address, classes: Sequence[str], input_shape: tuple[int, int, int], load: Load
) -> "BoundClassifier":
    """The classifier of the classes that an address chooses.

    Args:
        address: with one of these options.
        classes: those of the data.
        input_shape: (channels, height, width).
        load: loads the model itself.

    Raises:
        AddressError: two options at once, or an output that the model does not have.
        DataError: classes of the data, or of the map, that are none of the model's.
    """
    options, choice = dict(address.options), address.options.get("classes", "")
    if FINDING in options:
        name = options.pop(FINDING)
        bare = replace(address, options=_beside_finding(options, choice, address))
        return _finding(_whole(bare, ("0", "1"), input_shape, load), name, address)
    del options["classes"]
    bare = replace(address, options=options)
    if is_class_map(choice):
        table = read_class_map(choice)
        return _coarse(_whole(bare, table.fine, input_shape, load), table, choice)
    return _about_data(load(bare, classes, input_shape), classes, bare.text)


def _whole(address: Address, names: Sequence[str], input_shape: tuple[int, int, int], load: Load) -> "BoundClassifier":
    """The model with all its outputs; where they have no names and numbers are given, by their numbers."""
    from demur.classifier.validation import OutputCountError

    try:
        return load(address, names, input_shape)
    except OutputCountError as error:
        if "classes" in address.options or not all(name.isdigit() for name in names):
            raise
        return load(address, tuple(map(str, range(error.outputs))), input_shape)


def _beside_finding(options: dict[str, str], choice: str, address: Address) -> dict[str, str]:
    if choice == OF_THE_DATA or is_class_map(choice):
        raise AddressError(
            f"address {address.scheme}:{address.location}: `finding` names one output, and `classes` beside it must "
            f"name all of them; got {choice!r}. Write ?classes=a,b,c or ?classes=@names.txt."
        )
    return options


def _finding(whole: "BoundClassifier", name: str, address: Address) -> "BoundClassifier":
    from demur.classifier.chosen_outputs import finding

    found = [own for own in whole.classes if own == name] or [own for own in whole.classes if plain(own) == plain(name)]
    if len(found) != 1:
        raise AddressError(f"address {address.scheme}:{address.location}: {unknown('finding', name, whole.classes)}")
    return finding(whole, found[0])


def _about_data(whole: "BoundClassifier", classes: Sequence[str], text: str) -> "BoundClassifier":
    """The model asked about the classes of the data, in the order of its own outputs and by its own names."""
    from demur.classifier.chosen_outputs import summed

    if tuple(classes) == whole.classes:
        return whole
    places = sorted(meeting(classes, whole.classes).whole(text, "the data"))
    return summed(whole, [[place] for place in places], [whole.classes[place] for place in places])


def _coarse(whole: "BoundClassifier", table: ClassMap, choice: str) -> "BoundClassifier":
    """The model asked about coarse classes; its classes that the table leaves out are in none."""
    from demur.classifier.chosen_outputs import summed

    places = meeting(table.fine, whole.classes).whole(whole.name, choice[1:])
    pairs = list(zip(places, table.coarse, strict=True))
    groups = [sorted(place for place, coarse in pairs if coarse == name) for name in table.classes]
    return summed(whole, groups, table.classes)
