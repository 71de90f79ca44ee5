"""What a pass through a source found, kept in files, so that others need not decode the images to know them.

An index is a folder of parts, each a folder with some of the rows, in pieces: `images-START.parquet` and, where there
are images of none of the classes, `unknown-START.parquet`; beside each a `.json` says of which set and rows it is, and
its hash. It is checked against what is known of the set before an image is decoded; each image that is read later,
against its own hash.
"""

import io
import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias, get_args

import polars as pl

from demur.data.image_content import digest
from demur.data.kept_images import KeepingSource
from demur.data.lost_images import listing
from demur.data.scan import ScannedRow, ScannedRows, check_labels
from demur.data.source import Row, Source
from demur.errors import DataError, brief
from demur.files import json_bytes, write_atomically
from demur.parquet_files import DAMAGED, parquet_schema
from demur.splits import OwnSplit

_FORMAT = 1
_BOX = ("left", "top", "right", "bottom")
_FACTS = ("format", "address", "classes", "input_shape", "rows", "start", "stop", "sha256")
_SCHEMA: Mapping[str, pl.DataType] = {
    "sample_id": pl.String(),
    "label": pl.Int64(),
    "group": pl.String(),
    "error": pl.String(),
    "meta": pl.String(),
    "split": pl.String(),
    "label2": pl.Int64(),
    "weight": pl.Float64(),
    **dict.fromkeys(_BOX, pl.Int64()),
    "content": pl.Binary(),
    "mark": pl.Binary(),
}


def _name_of(*, labelled: bool) -> str:
    """How the names of the files of a set begin: of images of the classes, or of none of them."""
    return "images" if labelled else "unknown"


def write_scan(folder: Path, source: Source, rows: Sequence[ScannedRow], start: int, *, labelled: bool) -> None:
    """Write a piece of an index.

    Args:
        folder: of the part it is of.
        source: the set.
        rows: some of its rows, one after the other.
        start: the position of the first.
        labelled: whether they are of the classes.

    Raises:
        RunError: it cannot be written.
    """
    file, buffer = folder / f"{_name_of(labelled=labelled)}-{start:09d}.parquet", io.BytesIO()
    pl.DataFrame([_cells(one) for one in rows], schema=_SCHEMA, orient="row").write_parquet(buffer)
    write_atomically(file, buffer.getvalue())
    facts = {**_facts_of(source), "start": start, "stop": start + len(rows), "sha256": digest(buffer.getvalue())}
    write_atomically(file.with_suffix(".json"), json_bytes(facts))


def _facts_of(source: Source) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "address": source.address,
        "classes": list(source.classes),
        "input_shape": list(source.input_shape),
        "rows": len(source),
    }


def _cells(one: ScannedRow) -> tuple[Any, ...]:
    row = one.row
    return (
        row.sample_id, row.label, row.group, row.error, json.dumps(dict(row.meta)), row.split, row.label2, row.weight,
        *(row.box or (None,) * len(_BOX)), bytes.fromhex(one.content),
        None if one.mark is None else bytes.fromhex(one.mark),
    )  # fmt: skip


@dataclass(frozen=True)
class StoredScan:
    """Finds the rows of a source in an index, and decodes none.

    Attributes:
        folder: the index.
    """

    folder: Path

    def __call__(self, source: Source, *, labelled: bool = True) -> ScannedRows:
        """The rows, in their order.

        Raises:
            DataError: the index is of another set, or not whole, or was changed.
        """
        source = source.source if isinstance(source, KeepingSource) else source
        parts = self._parts(source, labelled=labelled)
        rows = chain.from_iterable(_rows_in(file, facts) for file, facts in parts)
        return ScannedRows.of(self._sound(rows, source, labelled=labelled))

    def _sound(self, rows: Iterable[ScannedRow], source: Source, *, labelled: bool) -> Iterator[ScannedRow]:
        for one in _same_rows(self.folder, source, rows):
            if labelled:
                check_labels(one.row, source)
            yield one

    def _parts(self, source: Source, *, labelled: bool) -> list[tuple[Path, Mapping[str, Any]]]:
        """The files with the rows of a set, in order, and what is said of each."""
        paths = sorted(self.folder.glob(f"*/{_name_of(labelled=labelled)}-*.json"))
        if not paths:
            which = "" if labelled else " of the unknown images"
            raise DataError(f"there is no index{which} in {self.folder}. {_MAKE}")
        found = [(path.with_suffix(".parquet"), _facts_in(path)) for path in paths]
        for path, facts in found:
            _check_set(path, facts, source)
        found.sort(key=lambda each: (each[1]["start"], each[1]["stop"]))
        at = 0
        for _, facts in found:
            if facts["start"] != at:
                break
            at = facts["stop"]
        if at != len(source) or any(facts["stop"] > at for _, facts in found):
            raise DataError(
                f"the index in {self.folder} has {len({path.parent for path, _ in found})} parts, which are not all "
                f"{len(source)} rows of {source.address}, each once: the first {at} are there. Make the other parts "
                "of the same N, and finish those that were broken off, by `demur index … --shard i/N`; or delete the "
                "folder and begin anew."
            )
        return found


_LISTED = ("sample_id", "label", "group", "split", "label2", "weight", "meta")
_WORDS = {
    "sample_id": "id", "label2": "second label", "meta": "meta data", "input_shape": "shape of images",
    "rows": "number of images",
}  # fmt: skip
_MAKE = "Make one into an empty folder, with the same plan: demur index --plan PLAN --out DIR."


def missing_rows(folder: Path, source: Source, positions: range, *, labelled: bool) -> list[range]:
    """Which rows of a part of an index are to be read, in their order; pieces that are damaged are taken away.

    Of a part without rows an empty range, as long as no file says so.

    Raises:
        DataError: a piece is of another set, or older than what is known of its rows.
    """
    pieces, damaged = _pieces(folder, source, labelled=labelled)
    at, found, kept = positions.start, list[range](), list[_Piece]()
    for path, facts in pieces:
        if not at <= facts["start"] <= facts["stop"] <= positions.stop:
            damaged.append(path)
            continue
        kept.append((path, facts))
        found += [range(at, facts["start"])] if at < facts["start"] else []
        at = facts["stop"]
    rows = chain.from_iterable(_rows_in(path.with_suffix(".parquet"), facts) for path, facts in kept)
    deque(_same_rows(folder, source, rows), maxlen=0)
    for path in damaged:
        path.with_suffix(".parquet").unlink(missing_ok=True)
        path.unlink()
    return found + ([range(at, positions.stop)] if at < positions.stop or not kept else [])


_Piece: TypeAlias = tuple[Path, Mapping[str, Any]]


def _pieces(folder: Path, source: Source, *, labelled: bool) -> tuple[list[_Piece], list[Path]]:
    """The pieces of a part that are whole, in order, and what is damaged: the files that tell of each."""
    found, damaged = list[_Piece](), list[Path]()
    for path in sorted(folder.glob(f"{_name_of(labelled=labelled)}-*.json")):
        try:
            facts = _facts_in(path)
            deque(_rows_in(path.with_suffix(".parquet"), facts), maxlen=0)
        except DataError:
            damaged.append(path)
            continue
        _check_set(path, facts, source)
        found.append((path, facts))
    return sorted(found, key=lambda each: (each[1]["start"], each[1]["stop"])), damaged


def _check_set(path: Path, facts: Mapping[str, Any], source: Source) -> None:
    for name, now in _facts_of(source).items():
        if facts[name] != now:
            word, before, here = _WORDS.get(name, name), brief(str(facts[name])), brief(str(now))
            raise DataError(
                f"the index in {path.parent} is of other images than these: {word} {before}, and here {here}. {_MAKE}"
            )


def _same_rows(folder: Path, source: Source, found: Iterable[ScannedRow]) -> Iterator[ScannedRow]:
    """The rows, of which all must be what is known of them before their images are decoded."""
    known = enumerate(listing(source) or ())
    for one in found:  # in their order, which may have gaps
        row = next((row for at, row in known if at == one.position), None)
        differing = [] if row is None else [name for name in _LISTED if getattr(one.row, name) != getattr(row, name)]
        if row is not None and row.box is not None and row.box != one.row.box:
            differing.append("box")
        if row is not None and differing:
            before, now = (brief(repr(getattr(each, differing[0]))) for each in (one.row, row))
            raise DataError(
                f"the index in {folder} is older than {source.address}: of row {one.position} it has the "
                f"{_WORDS.get(differing[0], differing[0])} {before}, and that is now {now}. {_MAKE}"
            )
        yield one


def _facts_in(path: Path) -> Mapping[str, Any]:
    try:
        facts = json.loads(path.read_text("utf-8"))
        whole = isinstance(facts, dict) and set(_FACTS) <= set(facts)
    except (OSError, ValueError, RecursionError):
        whole = False
    if not whole or not all(isinstance(facts[name], int) for name in ("rows", "start", "stop")):
        raise _damaged(path)
    return dict(facts)


def _damaged(path: Path) -> DataError:
    return DataError(
        f"{path} is not as `demur index` wrote it. Make this part again, of which only what is damaged is read: demur "
        "index … --shard i/N."
    )


def _rows_in(path: Path, facts: Mapping[str, Any]) -> Iterator[ScannedRow]:
    try:
        content = path.read_bytes()
        if digest(content) != facts["sha256"] or parquet_schema(path, "with an index") != pl.Schema(_SCHEMA):
            raise _damaged(path)
        table = pl.read_parquet(io.BytesIO(content))
        if len(table) != facts["stop"] - facts["start"]:
            raise _damaged(path)
        for at, cells in enumerate(table.iter_rows()):
            yield _row(facts["start"] + at, cells)
    except (*DAMAGED, DataError, ValueError, TypeError, AttributeError, RecursionError):
        raise _damaged(path) from None


def _row(position: int, cells: Sequence[Any]) -> ScannedRow:
    sample_id, label, group, error, meta, split, label2, weight, *box, content, mark = cells
    if split not in {None, *get_args(OwnSplit)} or None in {sample_id, label}:
        raise ValueError
    row = Row(
        sample_id, None, label, group, error, _meta_in(meta), split, label2, weight,
        None if None in box else (box[0], box[1], box[2], box[3]),
    )  # fmt: skip
    return ScannedRow(position, content.hex(), None if mark is None else mark.hex(), row)


@lru_cache(maxsize=4096)
def _meta_in(text: str) -> Mapping[str, str | float | None]:
    """Many rows say the same, and often nothing."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise TypeError
    return found
