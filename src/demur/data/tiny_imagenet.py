"""Tiny ImageNet in its own layout: `tiny-imagenet:FOLDER?split=val|train|all`, with the boxes of the objects.

Le and Yang (2015), "Tiny ImageNet visual recognition challenge". 200 classes in the order of their synsets, named by
`words.txt`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from demur.class_names.imagenet import imagenet_names
from demur.data.image_list import Files, ImageListSource, image_list_source
from demur.data.source import UNREAD, Box, Row, path_of
from demur.errors import AddressError, DataError
from demur.pictures.decode_rules import DECODE_OPTIONS, Rules
from demur.registry import Address

_SIDE = 64


def open_source(address: Address) -> ImageListSource:
    """Open the folder that holds `wnids.txt`; ids are paths, and `meta.synset` is the class's number in WordNet."""
    address.only(("split", *DECODE_OPTIONS))
    root, split = path_of(address), address.options.get("split", "val")
    if split not in ("val", "train", "all"):
        raise AddressError(
            f"`split` of Tiny ImageNet is val, train or all; got {split!r}. Its test images have no labels."
        )
    synsets = sorted(line.split()[0] for line in _lines(root / "wnids.txt"))
    chosen = Rules.of(address.options)
    rows: list[Row] = []
    if split != "val":
        rows += _train(root, synsets, chosen)
    if split != "train":
        rows += _validation(root, synsets, chosen)
    load = Files(root, tuple(row.sample_id for row in rows))
    return image_list_source(address.text, _names(root, synsets), rows, load, chosen)


def _validation(root: Path, synsets: Sequence[str], chosen: Rules) -> Iterator[Row]:
    path = root / "val" / "val_annotations.txt"
    numbers = {synset: number for number, synset in enumerate(synsets)}
    for line, cells in enumerate((text.split("\t") for text in _lines(path)), 1):
        if len(cells) != 6 or cells[1] not in numbers:
            raise DataError(
                f"{path}, line {line}: expected a file, a synset of wnids.txt and four numbers with tabs between; got "
                f"{cells!r}. Fetch the file again."
            )
        name = f"val/images/{cells[0]}"
        yield Row(
            name, None, numbers[cells[1]], split="val", error=UNREAD, meta={"synset": cells[1]},
            box=_box(cells[2:], chosen, f"{path}, line {line}"),
        )  # fmt: skip


def _train(root: Path, synsets: Sequence[str], chosen: Rules) -> Iterator[Row]:
    for number, synset in enumerate(synsets):
        path = root / "train" / synset / f"{synset}_boxes.txt"
        for line, cells in enumerate((text.split("\t") for text in _lines(path)), 1):
            yield Row(
                f"train/{synset}/images/{cells[0]}", None, number, split="train", error=UNREAD, meta={"synset": synset},
                box=_box(cells[1:], chosen, f"{path}, line {line}"),
            )  # fmt: skip


def _box(cells: Sequence[str], chosen: Rules, where: str) -> Box:
    """The set counts the last pixel in; ours lies outside."""
    try:
        left, top, right, bottom = (int(cell) for cell in cells)
    except ValueError:
        raise DataError(f"{where}: a box is four whole numbers; got {list(cells)}. Fetch the file again.") from None
    return chosen.moved((left, top, right + 1, bottom + 1), _SIDE, _SIDE)


def _names(root: Path, synsets: Sequence[str]) -> list[str]:
    """The first word of each class; the synset itself where there is none, behind it where two share one.

    So it is where two of ImageNet share it, as cranes do: for its models the word alone would mean none of them.
    """
    words = dict(line.split("\t", 1) for line in _lines(root / "words.txt") if "\t" in line)
    first = [words.get(synset, synset).partition(",")[0].strip() for synset in synsets]
    own = set(imagenet_names())
    return [
        name if first.count(name) == 1 and f"{name} ({synset})" not in own else f"{name} ({synset})"
        for name, synset in zip(first, synsets, strict=True)
    ]


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise DataError(
            f"there is no file {path}; Tiny ImageNet holds wnids.txt, words.txt, train/ and val/. Give the folder that "
            "holds them."
        )
    return [line for line in path.read_text("utf-8").splitlines() if line.strip()]
