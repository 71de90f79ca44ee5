"""A folder with one sub-folder per class, or with train, val and test folders of such: `folder:PATH`.

A `metadata.csv` in the folder says more of its images: a column `path` (or `file`, `file_name`), `group`, `split`,
`label2`, `label_weight`; every other column is meta data. `?masks=FOLDER` and `?boxes=FOLDER` tell where the objects
are, `?group=REGEX` reads the groups off the paths.
"""

import os
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from demur.class_names import class_list
from demur.compact import GrowingTexts, texts_of
from demur.data.column_rows import Listing
from demur.data.compact_rows import CompactRows
from demur.data.csv_file import names_of
from demur.data.image_list import Files, ImageListSource, image_list_source
from demur.data.object_masks import MASK_OPTIONS, folders_of, marks_of
from demur.data.path_groups import grouped_by_path
from demur.data.source import UNREAD, Row, location_of, path_of
from demur.data.table_columns import Columns, Facts, Labels, rows_in_split
from demur.data.task_refusals import layouts
from demur.data.text_table import read_table
from demur.errors import AddressError, DataError, brief, legible
from demur.pictures.decode_rules import DECODE_OPTIONS, Rules
from demur.registry import Address
from demur.registry.regular_files import reason
from demur.splits import SPLIT_NAMES, OwnSplit

TABLE = "metadata.csv"
NO_CLASS = "unknown"
"""What the images of a folder without sub-folders are called."""

_CLUTTER = {
    "thumbs.db",
    "desktop.ini",
    "__macosx",
    "__pycache__",
    "@eadir",
    "#recycle",
    "$recycle.bin",
    "lost+found",
    "system volume information",
}
"""What systems, archives and servers leave behind; hidden files and folders, such as .ipynb_checkpoints, beside it."""

_KNOWN = {"group", "split", "label", "label2", "label_weight"}


@dataclass(frozen=True)
class _Kind:
    """The folder of a class, in one part of the set."""

    folder: Path
    split: OwnSplit | None

    @property
    def name(self) -> str:
        """The class."""
        return self.folder.name


def open_source(address: Address) -> ImageListSource:
    """Open a folder; classes are its sub-folders in alphabetical order, ids are paths below it."""
    address.only(("split", "classes", "flat", "group", *MASK_OPTIONS, *DECODE_OPTIONS))
    root, options = path_of(address), address.options
    if not root.is_dir():
        raise DataError(
            f"there is no folder {root}; expected one with a sub-folder of images per class. Check the path."
        )
    if "flat" in options:
        return _flat_source(address)
    beside = folders_of(options, root)
    found = class_folders(root, options, frozenset(map(os.path.realpath, beside.values())))
    load, chosen = Files(root, found.names), Rules.of(options)
    marked = marks_of(beside, load, found.rows, found.classes, chosen)
    return image_list_source(address.text, found.classes, found.rows, load, chosen, marked)


def class_folders(root: Path, options: Mapping[str, str], apart: frozenset[str] = frozenset()) -> Listing:
    """The files in the folders of classes, of the split that an option names; ids are paths below the root.

    Raises:
        DataError: a layout of another task, a class without files, or a table beside them that does not fit.
    """
    layouts(root, apart)
    kinds = _kinds(root, apart)
    names, own = GrowingTexts(), array("I")
    for at, kind in enumerate(kinds):
        for path in files_below(kind.folder, root, apart):
            names.add(name_below(path, root))
            own.append(at)
    found, filled = names.finish(), [kinds[at] for at in sorted(set(own))]
    declared = class_list(options["classes"]) if "classes" in options else _names(root, kinds, filled)
    labels = Labels(tuple(declared), numbered=False)
    told = ((kinds[at], name) for at, name in zip(own, found, strict=True))
    listed = CompactRows.of(
        Row(legible(name), None, labels.number(kind.name, name), split=kind.split, error=UNREAD) for kind, name in told
    )
    rows = _with_metadata(listed, root, labels)
    if "group" in options:
        rows = grouped_by_path(rows, options["group"], found, str(root))
    listing = Listing.of(found, rows, labels.classes)
    return listing.only(rows_in_split(listing.rows, options.get("split"), str(root)))


def is_flat(address: Address) -> bool:
    """Whether an address names a folder without sub-folders, whose images have no classes."""
    root = Path(location_of(address))
    return address.scheme == "folder" and root.is_dir() and not _folders(root, ())


def _flat_source(address: Address) -> ImageListSource:
    """A folder whose images lie in it themselves, all of one class that means nothing; ids are their names."""
    address.only(("flat", *DECODE_OPTIONS))
    if address.options["flat"] != "true":
        raise AddressError(f"`flat` must be true; got {brief(address.options['flat'])!r}. Leave it out otherwise.")
    root = path_of(address)
    names = texts_of(name_below(path, root) for path in files_below(root, root) if Path(path).name != TABLE)
    rows = (Row(legible(name), None, 0, error=UNREAD) for name in names)
    return image_list_source(address.text, (NO_CLASS,), rows, Files(root, names), Rules.of(address.options))


def _kinds(root: Path, apart: Collection[str]) -> list[_Kind]:
    """The class folders; those below train, val and test where every top folder is called so and has folders."""
    tops = _folders(root, apart)
    if not tops:
        table = f" Its {TABLE} may list them: csv:{root / TABLE}." if (root / TABLE).is_file() else ""
        raise DataError(
            f"{root} has no sub-folders; it must have one per class, holding the images of that class.{table}"
        )
    if all(top.name.lower() in SPLIT_NAMES and _folders(top, apart) for top in tops):
        return [_Kind(kind, SPLIT_NAMES[top.name.lower()]) for top in tops for kind in _folders(top, apart)]
    return [_Kind(top, None) for top in tops]


def _folders(root: Path, apart: Collection[str]) -> list[Path]:
    """The folders inside that may hold images."""
    try:
        with os.scandir(root) as entries:
            inside = [entry.path for entry in entries if _is_folder(entry) and not _is_clutter(entry.name)]
    except OSError as error:
        raise DataError(
            f"cannot read the folder {root}: {reason(error)}. Correct its rights, or name another."
        ) from None
    return sorted(Path(path) for path in inside if os.path.realpath(path) not in apart)


def files_below(folder: Path, root: Path, apart: Collection[str] = ()) -> Iterator[str]:
    """Every file below a folder but in the folders apart, by name, links followed, however deep it lies.

    A folder that cannot be read is given as if it were a file, so that it counts as an image that cannot be.

    Raises:
        DataError: a link leads back up to a folder that it lies in, so that reading would never end.
    """
    above: tuple[_Place, ...] = () if folder == root else (_place(root),)
    levels = [(iter([(os.fspath(folder), True)]), above)]
    while levels:
        entries, above = levels[-1]
        path, is_folder = next(entries, ("", False))
        if not path:
            levels.pop()
            continue
        if is_folder and apart and os.path.realpath(path) in apart:
            continue
        inside = _inside(path) if is_folder else None
        if inside is None:
            yield path
            continue
        here = _place(path)
        if here in above:
            raise DataError(
                f"{path} leads back to a folder that it lies in, so that reading it would never end. Remove the link."
            )
        levels.append((inside, (*above, here)))


def name_below(path: str, root: Path) -> str:
    """What a path is called inside a folder.

    >>> name_below("set/cat/1.png", Path("set"))
    'cat/1.png'
    """
    start = "" if root == Path() else os.path.join(root, "")  # noqa: PTH118 - of a Path the last / is lost
    return path.removeprefix(start)


_Place: TypeAlias = tuple[int, int]


def _place(path: str | Path) -> _Place:
    """What two ways to the same folder have in common."""
    found = os.stat(path)  # noqa: PTH116 - of texts, which are many
    return found.st_dev, found.st_ino


def _inside(folder: str) -> Iterator[tuple[str, bool]] | None:
    """What a folder holds but for clutter, by name, and whether it is a folder; None where it cannot be read."""
    names, folders = list[str](), set[str]()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not _is_clutter(entry.name):
                    names.append(entry.name)
                    folders.update([entry.name] if _is_folder(entry) else ())
    except OSError:
        return None
    return ((os.path.join(folder, name), name in folders) for name in sorted(names))  # noqa: PTH118 - of many texts


def _is_clutter(name: str) -> bool:
    return name.startswith(".") or name.lower() in _CLUTTER


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _names(root: Path, kinds: Sequence[_Kind], filled: Sequence[_Kind]) -> list[str]:
    names = sorted({kind.name for kind in filled})
    empty = sorted({kind.name for kind in kinds} - set(names))
    if empty:
        raise DataError(
            f"{_some(empty)} of {root} {'holds' if len(empty) == 1 else 'hold'} no images, and a model may or may not "
            f"have such a class. Remove the folder, fill it, or name the classes that the model has, in its order: "
            f"{_example(names, empty)}."
        )
    return names


def _some(empty: Sequence[str]) -> str:
    more = f" and {len(empty) - 3:,} more" if len(empty) > 3 else ""
    return f"the class folder{'s' if len(empty) > 1 else ''} {', '.join(brief(repr(name)) for name in empty[:3])}{more}"


def _example(names: Sequence[str], empty: Sequence[str]) -> str:
    """The option with the classes that have images, and with the empty ones among them."""
    filled, whole = (brief(",".join(sorted(each))) for each in (names, [*names, *empty]))
    return f"?classes={filled} without {'it' if len(empty) == 1 else 'them'}, ?classes={whole} with"


def _with_metadata(rows: CompactRows, root: Path, labels: Labels) -> Iterable[Row]:
    """The rows with what `metadata.csv` says of them; its split wins over the folders'."""
    if not (root / TABLE).is_file():
        return rows
    table = read_table(root / TABLE)
    files = table.path_column()
    at = {legible(name): line for line, name in enumerate(names_of(table, files))}
    missing = sorted(set(at).difference(rows.sample_ids))
    if missing:
        raise DataError(
            f"{table.where(at[missing[0]])}: there is no image {missing[0]!r} in {root} ({len(missing)} such lines). "
            "Correct the paths; they are relative to the folder."
        )
    others = [name for name in table.header if name not in {files, *_KNOWN} and not name.startswith("meta.")]
    facts = Facts.of(Columns.of(table.header, {}, str(table.path), meta=others), table.columns, labels)
    lines = (at.get(name) for name in rows.sample_ids)
    return (
        row if line is None else _with_split(row, facts.row(line, row.sample_id, row.label, table.where(line)))
        for row, line in zip(rows, lines, strict=True)
    )


def _with_split(row: Row, said: Row) -> Row:
    return replace(said, split=said.split or row.split)
