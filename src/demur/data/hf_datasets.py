"""Data sets of Hugging Face by their own library: `hf:OWNER/NAME?split=test` of its cache, `hf:./folder` of this disk.

A folder is one that `save_to_disk` wrote, or one of Parquet or image files that `load_dataset` knows. Images stay
encoded and are decoded by demur's own rules. Nothing is fetched unless the address says `download=yes`.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from demur.compact import texts_of
from demur.data.column_rows import column_rows
from demur.data.compact_rows import CompactRows
from demur.data.image_list import ImageListSource, image_list_source
from demur.data.source import Row, location_of
from demur.data.table_columns import COLUMN_OPTIONS, Columns, columns_in
from demur.data.task_refusals import detection, multi_label
from demur.errors import AddressError, DataError, brief, missing_extra
from demur.pictures.decode_rules import DECODE_OPTIONS, Rules
from demur.registry import Address
from demur.registry.regular_files import MIB, content_of
from demur.splits import SPLIT_NAMES

_LARGEST = 256 * MIB
_IMAGES = ("image", "img", "picture")
_LABELS = ("label", "labels", "fine_label", "class")
_BOXES = ("objects", "bbox", "bboxes", "boxes", "annotations")


@dataclass(frozen=True, eq=False)
class EncodedColumn:
    """The images of a column, still encoded; called with a position, it reads one."""

    dataset: Any
    column: str

    def __call__(self, position: int) -> bytes:
        """The encoded image at a position."""
        found = self.dataset[position][self.column]
        if isinstance(found, bytes) or found is None:
            return found or b""
        if found.get("bytes"):
            return bytes(found["bytes"])
        path = str(found.get("path") or "")
        if not path or "::" in path or "://" in path:
            raise OSError(f"its bytes are not in the data set, which names {brief(path)!r} instead")
        return content_of(Path(path), _LARGEST)


def open_source(address: Address) -> ImageListSource:
    """Open one split; ids are its name and row numbers, and class names those of its features."""
    address.only(("config", "split", "download", "image", "label", "classes", *COLUMN_OPTIONS, *DECODE_OPTIONS))
    options, where = address.options, f"hf:{location_of(address)}"
    if options.get("download", "no") not in ("yes", "no"):
        raise AddressError(f"`download` must be yes or no; got {brief(options['download'])!r}. Leave it out for no.")
    splits = _splits(address)
    split = _split(options.get("split"), sorted(splits), where)
    dataset, header = splits[split], list(splits[split].features)
    image = _column(options.get("image"), _IMAGES, header, where)
    dataset = _undecoded(dataset, image, where)
    label = _label(dataset, options.get("label"), header, where)
    read = Columns.of(header, options, where)
    cells = {name: list(dataset[name]) for name in dict.fromkeys([label, *read.used])}
    ids = texts_of(f"{split}/{at:06d}" for at in range(len(dataset)))
    paths = _paths(dataset, image) if read.pattern else None
    names = tuple(map(str, getattr(dataset.features[label], "names", None) or ()))
    rows, labels = column_rows(cells, label, ids, options, where, names, paths)
    held: Iterable[Row] = rows if read.split else _with_split(rows, split, len(splits))
    return image_list_source(
        address.text, labels.classes, held, EncodedColumn(dataset, image), Rules.of(address.options)
    )


def _with_split(rows: CompactRows, split: str, splits: int) -> Iterator[Row]:
    """The rows of a split among others are of that part; of a set that has a single one nothing is known."""
    own = SPLIT_NAMES.get(split.lower()) if splits > 1 else None
    return (replace(row, split=own) for row in rows)


def _splits(address: Address) -> dict[str, Any]:
    """Every split of the data set, by name."""
    try:
        import datasets
    except ImportError as error:
        raise missing_extra("an hf: data set", "hf") from error
    place, options = Path(location_of(address)), address.options
    if not location_of(address):
        raise AddressError("the address 'hf' needs a data set. Write hf:OWNER/NAME, or hf:./folder.")
    online = options.get("download") == "yes"
    try:
        with _quiet(online=online):
            if (place / "dataset_dict.json").is_file() or (place / "dataset_info.json").is_file():
                found = datasets.load_from_disk(str(place))
            elif place.is_file():
                found = datasets.load_dataset(_builder(place), data_files=str(place))
            else:
                found = datasets.load_dataset(str(place) if place.is_dir() else address.location, options.get("config"))
    except Exception as error:  # the hub, a cache or somebody's file may raise anything
        way_out = (
            "Check the folder, and that its files are Parquet or images."
            if place.exists()
            else "Check the name and the network."
            if online
            else "It is not in the cache on this disk: ?download=yes fetches it, hf:./FOLDER reads a folder."
        )
        said = str(error).strip().partition("\n")[0]
        raise DataError(f"cannot read the data set hf:{location_of(address)}: {brief(said)}. {way_out}") from error
    return dict(found) if isinstance(found, dict) else {str(found.split or "all"): found}


def _builder(path: Path) -> str:
    kind = {".parquet": "parquet", ".arrow": "arrow"}.get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"{path.name} is no Parquet or Arrow file")
    return kind


@contextmanager
def _quiet(*, online: bool) -> Iterator[None]:
    """Without bars of progress, and without the network unless it was named."""
    import datasets
    from huggingface_hub import constants

    before = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE, datasets.is_progress_bar_enabled()
    if not online:
        datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before[:2]
        if before[2]:
            datasets.enable_progress_bars()


def _split(wanted: str | None, splits: Sequence[str], where: str) -> str:
    """The split that is named, else the only one, else test."""
    found = wanted or (splits[0] if len(splits) == 1 else "test")
    if found not in splits:
        way_out = "Write one" if wanted else "Name one"
        raise DataError(f"{where} has no split {found!r}; it has {', '.join(splits)}. {way_out}: ?split={splits[0]}.")
    return found


def _column(wanted: str | None, usual: Sequence[str], header: Sequence[str], where: str) -> str:
    return columns_in(wanted or next((name for name in usual if name in header), usual[0]), header, where)


def _undecoded(dataset: Any, image: str, where: str) -> Any:
    """The data set with its images left encoded."""
    import datasets

    kind = dataset.features[image]
    if isinstance(kind, datasets.Image):
        return dataset.with_format(None).cast_column(image, datasets.Image(decode=False))
    if str(getattr(kind, "dtype", "")) not in ("binary", "large_binary"):
        raise DataError(
            f"the column {image!r} of {where} holds {brief(str(kind))}; images must be of the feature Image, or "
            "encoded bytes. Name another column with ?image=…."
        )
    return dataset.with_format(None)


def _label(dataset: Any, wanted: str | None, header: Sequence[str], where: str) -> str:
    boxes = [name for name in _BOXES if name in header]
    if boxes and wanted is None and not set(_LABELS) & set(header):
        raise detection(where, f"it has the column {boxes[0]!r} and none of labels")
    label = _column(wanted, _LABELS, header, where)
    kind = dataset.features[label]
    if isinstance(kind, (list, dict)) or getattr(kind, "feature", None) is not None:
        raise multi_label(where, f"the column {label!r} holds {brief(str(kind))}")
    return label


def _paths(dataset: Any, image: str) -> list[str]:
    """What the images were called, empty where unsaid."""
    found = dataset.select_columns([image])
    cells = (found[at][image] for at in range(len(found)))
    return [str(each.get("path") or "") if isinstance(each, dict) else "" for each in cells]
