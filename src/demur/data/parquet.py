"""Parquet files of encoded images, the layout of Hugging Face: `parquet:FILE?image=…&label=…&group=…&classes=a,b`."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from demur.data.pictures import opened
from demur.data.source import Row
from demur.errors import DataError, unknown
from demur.registry import Address

_WINDOW = 256


@dataclass(frozen=True, eq=False)
class ParquetSource:
    """Rows decoded a window of 256 at a time; ids are row numbers.

    Attributes:
        path: the file.
        image: the column of encoded images, binary or a struct with the field `bytes`.
        label: the column of labels, whole numbers or class names.
        group: the column of the units of independence, if there is one.
    """

    address: str
    classes: tuple[str, ...]
    input_shape: tuple[int, int, int]
    path: Path
    rows: int
    image: str
    label: str
    group: str | None

    def __len__(self) -> int:
        return self.rows

    def read(self, positions: Sequence[int]) -> Iterator[Row]:
        """The rows at these positions; ascending ones decode every window once."""
        start = -1
        window: list[dict[str, Any]] = []
        for position in positions:
            if position // _WINDOW != start:
                start = position // _WINDOW
                window = _slice(self.path, start * _WINDOW, _WINDOW, self.image, self.label, self.group)
            yield self._row(position, window[position % _WINDOW])

    def _row(self, position: int, cells: Mapping[str, Any]) -> Row:
        image, error = opened(cells["image"], self.input_shape[0]) if cells["image"] else (None, "no image bytes")
        group = cells.get("group")
        return Row(f"{position:06d}", image, self._number(cells["label"]), None if group is None else str(group), error)

    def _number(self, label: object) -> int:
        if isinstance(label, str):
            return self.classes.index(label) if label in self.classes else -1
        return label if isinstance(label, int) else -1


def open_source(address: Address) -> ParquetSource:
    """Open a file.

    Class names come from `classes=a,b,…`, else from the schema's metadata (key `classes`, or Hugging Face's), else from
    the labels themselves.
    """
    address.only(("image", "label", "group", "classes"))
    path = Path(address.location)
    schema = _schema(path)
    image, label = address.options.get("image", "image"), address.options.get("label", "label")
    group = address.options.get("group")
    for column in filter(None, (image, label, group)):
        if column not in schema:
            raise DataError(f"{path}: {unknown('column', column, schema)} Name it with ?image=…&label=…&group=….")
    _check_images(path, image, schema[image])
    rows: int = pl.scan_parquet(path).select(pl.len()).collect().item()
    classes = _classes(address, path, label, schema[label])
    shape = _usual_shape(path, image, label)
    return ParquetSource(_spelled(address), classes, shape, path, rows, image, label, group)


def _spelled(address: Address) -> str:
    query = "&".join(f"{key}={value}" for key, value in address.options.items())
    return f"parquet:{address.location}" + (f"?{query}" if query else "")


def _schema(path: Path) -> pl.Schema:
    if not path.is_file():
        raise DataError(
            f"there is no file {path}; expected a Parquet file with a column of encoded images and one of labels. "
            "Check the path."
        )
    try:
        return pl.scan_parquet(path).collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"cannot read {path} as Parquet: {error}. Check that the file is whole.") from None


def _check_images(path: Path, image: str, kind: pl.DataType) -> None:
    fields = [field.name for field in kind.fields] if isinstance(kind, pl.Struct) else []
    if kind != pl.Binary and "bytes" not in fields:
        raise DataError(
            f"the column {image!r} of {path} holds {kind}; images must be encoded bytes, or a struct with the field "
            "`bytes`. Name another column with ?image=…."
        )


def _slice(path: Path, start: int, rows: int, image: str, label: str, group: str | None) -> list[dict[str, Any]]:
    table = pl.scan_parquet(path).slice(start, rows)
    encoded = pl.col(image)
    if isinstance(table.collect_schema()[image], pl.Struct):
        encoded = encoded.struct.field("bytes")
    columns = [encoded.alias("image"), pl.col(label).alias("label")]
    if group is not None:
        columns.append(pl.col(group).alias("group"))
    return table.select(columns).collect().to_dicts()


def _usual_shape(path: Path, image: str, label: str) -> tuple[int, int, int]:
    """The most common shape of the first images, so that one odd image does not decide for all."""
    cells = _slice(path, 0, _WINDOW, image, label, None)
    pictures = (opened(row["image"], None)[0] for row in cells if row["image"])
    shapes = Counter(tuple(picture.shape) for picture in pictures if picture is not None)
    if not shapes:
        raise DataError(
            f"none of the first {len(cells)} images of {path} can be decoded; the column {image!r} must hold PNG, JPEG "
            "or similar bytes. Name another one with ?image=…."
        )
    channels, height, width = shapes.most_common(1)[0][0]
    return (channels, height, width)


def _classes(address: Address, path: Path, label: str, kind: pl.DataType) -> tuple[str, ...]:
    if "classes" in address.options:
        return tuple(address.options["classes"].split(","))
    declared = _declared(pl.read_parquet_metadata(path), label)
    if declared:
        return declared
    found = pl.scan_parquet(path).select(pl.col(label).drop_nulls().unique().sort()).collect().to_series()
    if kind.is_integer():
        return tuple(str(number) for number in range(max(found, default=0) + 1))
    if kind == pl.String:
        return tuple(found.to_list())
    raise DataError(f"labels must be whole numbers or names; the column {label!r} of {path} holds {kind}.")


def _declared(metadata: Mapping[str, str], label: str) -> tuple[str, ...]:
    """The class names that the schema's metadata gives, if it does."""
    if "classes" in metadata:
        return tuple(metadata["classes"].split(","))
    try:
        features = json.loads(metadata.get("huggingface", "{}"))["info"]["features"]
        return tuple(features[label]["names"])
    except (KeyError, TypeError, ValueError):
        return ()
