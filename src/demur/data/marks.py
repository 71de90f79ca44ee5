"""Where the object is, told by files beside the pictures: `?masks=FOLDER` and `?boxes=FOLDER`.

Both folders repeat the paths of the pictures: the mask of `cat/a.jpg` is `cat/a.png`, its boxes are in `cat/a.xml`.
Marks belong to the picture as it is shown, turned as its EXIF orientation says, and are cut and scaled with it. Where
both are told, the mask counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from demur.data.masks import SUFFIXES, read_mask, scaled
from demur.data.pictures import shown_size
from demur.data.rules import Rules
from demur.data.source import Box, Row, boxed
from demur.data.voc import read_annotation
from demur.errors import DataError

OPTIONS = ("masks", "boxes")

_SUFFIXES: Mapping[str, tuple[str, ...]] = {"masks": SUFFIXES, "boxes": (".xml",)}


@dataclass(frozen=True, eq=False)
class Marks:
    """The files that mark objects; called with a row that was read, it adds what they say of it.

    Attributes:
        root: what the ids of the rows are relative to.
        folders: those of masks and of annotations, by option.
        classes: the class names, to find the boxes of an image's own class.
        rules: how pictures are cut and scaled.
    """

    root: Path
    folders: Mapping[str, Path]
    classes: tuple[str, ...]
    rules: Rules

    def __call__(self, row: Row) -> Row:
        """The row with its mask and box; as it is where it has no image or nothing is told of it."""
        if row.image is None:
            return row
        mask, boxes = (_beside(self.folders.get(option), row.sample_id, _SUFFIXES[option]) for option in OPTIONS)
        if mask is not None:
            found, size = read_mask(mask), shown_size(self.root / row.sample_id)
            _check(mask, found.shape, size)
            return replace(row, mask=scaled(found, self.rules))
        if boxes is not None:
            inside = _boxes(boxes, shown_size(self.root / row.sample_id), self.classes[row.label], self.rules)
            return _boxed(row, inside, *row.image.shape[1:])
        return row


def folders_of(options: Mapping[str, str], root: Path) -> dict[str, Path]:
    """The folders that an address names, by option; relative ones lie in the folder of the data.

    Raises:
        DataError: one is no folder, or that of the data itself.
    """
    named = {option: root / options[option] for option in OPTIONS if option in options}
    for option, folder in named.items():
        if not options[option] or not folder.is_dir():
            raise DataError(
                f"`{option}` must name a folder; there is no folder {folder}. Write ?{option}=FOLDER, absolute or "
                f"relative to {root}."
            )
        if folder.resolve() == root.resolve():
            raise DataError(
                f"`{option}` must name a folder of its own; {folder} is that of the images, and its files would be "
                "taken for images. Move the marks to a folder that repeats the paths of the images."
            )
    return named


def marks_of(
    folders: Mapping[str, Path], root: Path, rows: Sequence[Row], classes: tuple[str, ...], rules: Rules
) -> Marks | None:
    """The marks in these folders; None where there are no folders.

    Raises:
        DataError: a folder has no file for any of the rows.
    """
    for option, folder in folders.items():
        first, *others = _SUFFIXES[option]
        if rows and not any(_beside(folder, row.sample_id, _SUFFIXES[option]) for row in rows):
            wanted = f"{Path(rows[0].sample_id).with_suffix(first)}{''.join(f' or {other}' for other in others)}"
            raise DataError(
                f"the folder {folder} has no file for any of the {len(rows)} images; it must repeat their paths, so "
                f"that {rows[0].sample_id} has {wanted}. Move the files, or leave `{option}` out."
            )
    return Marks(root, folders, classes, rules) if folders else None


def _beside(folder: Path | None, name: str, suffixes: Sequence[str]) -> Path | None:
    """The file of a folder that is called like a picture up to the suffix."""
    if folder is None:
        return None
    there = (folder / Path(name).with_suffix(written) for suffix in suffixes for written in (suffix, suffix.upper()))
    return next((path for path in there if path.is_file()), None)


def _boxes(path: Path, size: tuple[int, int], name: str, rules: Rules) -> list[Box]:
    """The boxes of the objects of a class, in the picture as it is served."""
    told = read_annotation(path)
    _check(path, told.size or size, size)
    height, width = size
    inside = [(max(0, box[0]), max(0, box[1]), min(width, box[2]), min(height, box[3])) for box in told.boxes(name)]
    for left, top, right, bottom in inside:
        if left >= right or top >= bottom:
            raise DataError(
                f"{path}: a box lies outside its picture of {height}×{width} pixels (height × width). Correct the "
                "file, or remove it where nothing is known of the picture."
            )
    return [rules.moved(box, height, width) for box in inside]


def _boxed(row: Row, boxes: Sequence[Box], height: int, width: int) -> Row:
    """One box as such, several as a mask."""
    return replace(row, box=boxes[0]) if len(boxes) == 1 else replace(row, mask=boxed(boxes, height, width))


def _check(path: Path, told: tuple[int, ...], size: tuple[int, int]) -> None:
    """Refuse marks of a picture of another size."""
    if told == size:
        return
    own, wanted = ("×".join(map(str, pair)) for pair in (told, size))
    turned = " Its EXIF orientation turns the picture: turn the mark too." if told == size[::-1] else ""
    raise DataError(
        f"{path} marks a picture of {own} pixels (height × width), and its picture measures {wanted} as it is shown; "
        f"both must be the same.{turned} Make the mark again for this picture, or remove it."
    )
