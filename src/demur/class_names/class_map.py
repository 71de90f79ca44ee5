"""`?classes=@map.csv`: a table of two columns that makes one coarse class of many fine ones."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from demur.class_names.class_list import text_in
from demur.errors import AddressError, brief

_HEADS = {("fine", "coarse"), ("model", "data"), ("from", "to"), ("class", "group")}


@dataclass(frozen=True)
class ClassMap:
    """Which coarse class each fine one belongs to; both tuples are as long as the table.

    Attributes:
        fine: names, synsets or numbers of classes, each once.
        coarse: the class that each becomes.
    """

    fine: tuple[str, ...]
    coarse: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """The coarse classes, in the order in which they stand first."""
        return tuple(dict.fromkeys(self.coarse))


def is_class_map(text: str) -> bool:
    """Whether the option names a table and no list of names: its file ends in .csv."""
    return text.startswith("@") and text.lower().endswith(".csv")


def read_class_map(text: str) -> ClassMap:
    """The table that `@FILE.csv` names; a first line such as `fine,coarse` is a heading.

    Raises:
        AddressError: a file that cannot be read, a line without two names, a fine class that stands twice.
    """
    path = Path(text[1:])
    rows = list(csv.reader(io.StringIO(text_in(path)), skipinitialspace=True))
    lines = {at: tuple(cell.strip() for cell in row) for at, row in enumerate(rows, 1) if any(map(str.strip, row))}
    if lines and tuple(map(str.casefold, next(iter(lines.values())))) in _HEADS:
        del lines[next(iter(lines))]
    places: dict[str, int] = {}
    for at, cells in lines.items():
        if len(cells) != 2 or not all(cells):
            raise AddressError(
                f"{path}, line {at}: a map of classes has a fine class and a coarse one, with a comma between; got "
                f"{brief(','.join(cells))!r}. Put names with commas in quotes."
            )
        if places.setdefault(cells[0], at) != at:
            raise AddressError(
                f"{path}, line {at}: {brief(cells[0])!r} stands in line {places[cells[0]]} already, and a fine class "
                "belongs to one coarse one. Drop one of the lines."
            )
    found = ClassMap(tuple(cells[0] for cells in lines.values()), tuple(cells[1] for cells in lines.values()))
    if len(found.classes) < 2:
        raise AddressError(
            f"{path} must make at least two coarse classes; it makes {len(found.classes)}. Write a line for every fine "
            "class that is to be asked about."
        )
    return found
