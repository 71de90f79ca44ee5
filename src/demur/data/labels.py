"""Labels as they are written, whole numbers or names, as positions among the classes."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from demur.data import refuse
from demur.errors import DataError


@dataclass(frozen=True)
class Labels:
    """How labels become numbers.

    Attributes:
        classes: the names; a number is a position among them.
        numbered: whether labels are written as numbers.
    """

    classes: tuple[str, ...]
    numbered: bool

    def number(self, label: object, where: str) -> int:
        """The number of a label.

        >>> Labels(("cat", "dog"), numbered=False).number("dog", "line 3")
        1
        """
        plain = cell(label)
        if plain is None:
            raise DataError(f"{where}: the label is missing. Give one, or leave the row out.")
        if isinstance(plain, int) and self.numbered:
            if 0 <= plain < len(self.classes):
                return plain
        elif str(plain) in self.classes:
            return self.classes.index(str(plain))
        raise DataError(
            f"{where}: the label {label!r} is not among the {len(self.classes)} classes "
            f"{', '.join(self.classes[:12])}{', …' if len(self.classes) > 12 else ''}. Correct it, or name all the "
            "classes with ?classes=a,b,…."
        )


def labels_of(values: Iterable[object], where: str, declared: Sequence[str] = ()) -> Labels:
    """How the labels of a set become numbers; classes that are not declared are read off them.

    Whole numbers are positions, from 0 to the largest; names are sorted.

    Raises:
        DataError: several labels in one cell, or quantities instead of classes.
    """
    found = {plain for plain in map(cell, values) if plain is not None}
    refuse.several_labels(found, where)
    refuse.quantities(found, where)
    numbered = all(isinstance(plain, int) for plain in found) and not {str(plain) for plain in found} <= set(declared)
    if declared:
        return Labels(tuple(declared), numbered)
    if not numbered:
        return Labels(tuple(sorted(map(str, found))), numbered=False)
    return Labels(
        tuple(str(number) for number in range(1 + max((int(plain) for plain in found), default=-1))), numbered
    )


def cell(value: object) -> int | float | str | None:
    """A label as plainly as it can be read: whole number, number, text, or None for an empty cell.

    >>> cell(3), cell(2.0), cell(" cat "), cell(True), cell("")
    (3, 2, 'cat', 'True', None)
    """
    if isinstance(value, float):
        return None if math.isnan(value) else int(value) if value.is_integer() else value
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    return str(value).strip() or None
