"""Parquet files of encoded images, the layout of Hugging Face: `parquet:FILE?image=…&label=…&group=…&classes=a,b`.

The encoded images are copied once, row group by row group, into a temporary file that vanishes with the process: any
image can then be read at the same cost, and memory does not grow with their number.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from demur.class_names import class_list
from demur.data.array_files import spool
from demur.data.compact_rows import CompactRows
from demur.data.image_list import ImageListSource, Selection, image_list_source
from demur.data.path_groups import grouped_by_path
from demur.data.source import Row, path_of
from demur.data.table_columns import COLUMN_OPTIONS, Columns, Facts, columns_in, labels_of, rows_in_split
from demur.data.task_refusals import detection, multi_label, segmentation
from demur.data.text_table import PATH_COLUMNS, check_header
from demur.errors import DataError, brief
from demur.parquet_files import DAMAGED, PACKED, damage, parquet_schema, room_of
from demur.pictures.decode_rules import DECODE_OPTIONS, Rules
from demur.registry import Address

_WINDOW = 1024
_PLAIN = (pl.String, pl.Categorical, pl.Enum, pl.Boolean, pl.Null, pl.Decimal)
_BOXES = {"objects", "bbox", "bboxes", "boxes", "annotations"}


def open_source(address: Address) -> ImageListSource:
    """Open a file; ids are row numbers.

    Class names come from `classes=a,b,…`, else from the schema's metadata (key `classes`, or Hugging Face's), else from
    the labels themselves.
    """
    address.only(("image", "label", "classes", "split", *COLUMN_OPTIONS, *DECODE_OPTIONS))
    path, options = path_of(address), address.options
    schema = parquet_schema(path, "with a column of encoded images and one of labels")
    check_header(schema.names(), str(path))
    image, label = options.get("image", "image"), options.get("label", "label")
    _check(path, schema, image, label)
    read = Columns.of(schema.names(), options, str(path))
    _check_plain(path, schema, [label, *read.used])
    cells = _cells(path, [label, *read.used])
    declared = class_list(options["classes"]) if "classes" in options else _schema_classes(path, label)
    labels = labels_of(cells[label], f"the column {label!r} of {path}", declared, options)
    facts = Facts.of(read, cells, labels)
    listed: Iterable[Row] = (
        facts.row(at, f"{at:06d}", labels.number(value, f"{path}, row {at}"), f"{path}, row {at}")
        for at, value in enumerate(cells[label])
    )
    if read.pattern is not None:
        listed = grouped_by_path(listed, read.pattern, _paths(path, image, schema), str(path))
    rows = CompactRows.of(listed)
    kept = rows_in_split(rows, options.get("split"), str(path))
    load = Selection(spool(_contents(path, image, schema[image], len(rows))), kept)
    return image_list_source(address.text, labels.classes, rows.select(kept), load, Rules.of(options))


def _scan(path: Path) -> pl.LazyFrame:
    return pl.scan_parquet(path, glob=False)


def _cells(path: Path, columns: Sequence[str]) -> dict[str, list[Any]]:
    try:
        return _scan(path).select(list(dict.fromkeys(columns))).collect().to_dict(as_series=False)
    except DAMAGED as error:
        raise damage(path, error) from None


def _check(path: Path, schema: pl.Schema, image: str, label: str) -> None:
    boxes = sorted(_BOXES & set(schema))
    if boxes and label not in schema:
        raise detection(str(path), f"it has the column {boxes[0]!r} and no column {label!r}")
    for column in (image, label):
        columns_in(column, schema.names(), str(path))
    if not _is_encoded(schema[image]):
        raise DataError(
            f"the column {image!r} of {path} holds {brief(str(schema[image]))}; images must be encoded bytes, or a "
            "struct with the field `bytes`. Name another column with ?image=…."
        )
    if _is_encoded(schema[label]):
        raise segmentation(str(path), f"the column {label!r} holds images")
    if isinstance(schema[label], (pl.List, pl.Array)):
        raise multi_label(str(path), f"the column {label!r} holds {schema[label]}")


def _check_plain(path: Path, schema: pl.Schema, columns: Sequence[str]) -> None:
    """What is said of a row is one number, text or date."""
    for column in columns:
        kind = schema[column]
        if not (kind.is_numeric() or kind.is_temporal() or isinstance(kind, _PLAIN)):
            raise DataError(
                f"the column {column!r} of {path} holds {brief(str(kind))}; it must hold one number or text a row. "
                "Write it as such, or name another column."
            )


def _paths(path: Path, image: str, schema: pl.Schema) -> list[str]:
    """What the images were called: the field `path` beside their bytes, or a column of paths; empty where unsaid."""
    kind = schema[image]
    beside = isinstance(kind, pl.Struct) and any(field.name == "path" for field in kind.fields)
    column = next((name for name in PATH_COLUMNS if name in schema and name != image), None)
    if not beside and column is None:
        raise DataError(
            f"{path} has no paths for ?group= to read groups off: neither a field `path` beside the bytes of "
            f"{image!r}, nor a column {', '.join(PATH_COLUMNS)}. Name a column of groups with ?group=COLUMN."
        )
    wanted = pl.col(image).struct.field("path") if beside else pl.col(str(column))
    try:
        found = _scan(path).select(wanted.cast(pl.String).alias("path")).collect()["path"]
    except DAMAGED as error:
        raise damage(path, error) from None
    return [name or "" for name in found]


def _is_encoded(kind: pl.DataType) -> bool:
    fields = {field.name: field.dtype for field in kind.fields} if isinstance(kind, pl.Struct) else {"bytes": kind}
    return fields.get("bytes") == pl.Binary


def _contents(path: Path, image: str, kind: pl.DataType, rows: int) -> Iterator[bytes]:
    """The encoded images; window by window, since a stream of batches is read ahead of its use."""
    column = pl.col(image).struct.field("bytes") if isinstance(kind, pl.Struct) else pl.col(image)
    room = room_of(path)
    try:
        for start in range(0, rows, _WINDOW):
            window = _scan(path).select(column.alias("image")).slice(start, _WINDOW).collect()
            room -= int(window["image"].bin.size().sum())
            if room < 0:
                raise DataError(
                    f"the images of {path} unpack to more than {PACKED} times its size, as only those of a file made "
                    "to fill the disk do. Write it again without repeating images."
                )
            yield from (content or b"" for content in window["image"])
    except DAMAGED as error:
        raise damage(path, error) from None


def _schema_classes(path: Path, label: str) -> tuple[str, ...]:
    """The class names that the schema's metadata gives, if it does."""
    metadata: Mapping[str, str] = pl.read_parquet_metadata(path)
    if "classes" in metadata:
        return tuple(metadata["classes"].split(","))
    try:
        features = json.loads(metadata.get("huggingface", "{}"))["info"]["features"]
        return tuple(map(str, features[label]["names"]))
    except (KeyError, TypeError, ValueError, RecursionError):
        return ()
