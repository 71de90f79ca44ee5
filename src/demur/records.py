"""The table: one row per sample under one condition, in Parquet shards that are written once.

    run.json       what was run: hashes, versions, conditions and signals with their sentences and units
    manifest.json  [{shard, condition, rows, sha256}]; newer ones in `shards.jsonl` while an audit runs
    records/       c003-s0007.parquet = condition 3, shard 7
    parts/         the same shards: `part.<name>.<part>`, what the score of a signal is made of, where it has parts
    facts/         what is not a row: fits, checks

Columns that every shard has are `COLUMNS`; `logit.<k>` (float32) and `signal.<name>` (float64, higher = more
uncertainty) come beside them, and where they are known `label2`, `label_weight` and `meta.<name>` (text, also of
numbers), where rows were drawn unequally those of `DESIGN`, for attacks of several stages `stage` (the first to break
the row within eps), `stage.kept` (whose point is kept), `epsilon.search` (what its search for minimal perturbations
found by itself) and `passes.<stage>`, for rays `spent.scan` and `spent.refine` (forwards in either part), for targeted
ones `target`, for those measured in L1 `distance.l1`, for foreign ones that failed `crash` (why), for rows measured in
another batch than planned `batch.size`.
A failed sample is a row with `error` set and everything measured null; where the model failed it has a `batch.size`.
"""

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from demur.errors import RunError
from demur.files import JOURNAL, fetched, is_whole, read_json, whole_lines, write_atomically

SCHEMA_VERSION = 1

FORMULA = r"^'*[=+\-@\t\r\n]"
"""What a spreadsheet takes for a formula, and what would be one without the apostrophes before it."""

SPLITS = ("train", "fit", "tune", "certify", "test")

COLUMNS: Mapping[str, pl.DataType] = {
    "sample_id": pl.String(),
    "split": pl.Enum(SPLITS),
    "label": pl.Int32(),
    "group": pl.String(),
    "condition": pl.String(),
    "severity": pl.Float32(),
    "norm": pl.String(),
    "predicted": pl.Int32(),
    "margin": pl.Float32(),
    "distance.linf": pl.Float32(),
    "distance.l2": pl.Float32(),
    "epsilon.minimal": pl.Float32(),
    "epsilon.censored": pl.Boolean(),
    "loss.start": pl.Float32(),
    "loss.kept": pl.Float32(),
    "step": pl.Int32(),
    "flags": pl.Int32(),
    "forwards": pl.Int32(),
    "backwards": pl.Int32(),
    "error": pl.String(),
}

SECOND, WEIGHT, META = "label2", "label_weight", "meta."

STANDS_FOR, ALIKE, STRATUM, DRAWN = "design.weight", "design.alike", "design.stratum", "design.drawn"

DESIGN: Mapping[str, pl.DataType] = {
    STANDS_FOR: pl.Float64(),
    ALIKE: pl.Boolean(),
    STRATUM: pl.Int32(),
    DRAWN: pl.Int32(),
}
"""How a row was drawn, where rare strata have more than their share: for how many rows it stands, whether it would have
been drawn without that, its stratum by number, and how many rows of that were drawn."""

METADATA: Mapping[str, pl.DataType] = {SECOND: pl.Int32(), WEIGHT: pl.Float32(), **DESIGN}
"""What may be known of a row besides; columns that begin with `META` are text."""

PASSES = "passes."

SEARCH = "epsilon.search"
"""What the search of an ensemble found by itself: 0 where the answer was wrong already, null where nothing."""

STAGED: Mapping[str, pl.DataType] = {
    "distance.l1": pl.Float32(),
    "target": pl.Int32(),
    "stage": pl.String(),
    "stage.kept": pl.String(),
    SEARCH: pl.Float32(),
    "crash": pl.String(),
    "spent.scan": pl.Int32(),
    "spent.refine": pl.Int32(),
    "batch.size": pl.Int32(),
}
"""What only some rows have to say; columns that begin with `PASSES` count what one stage of several cost (int32)."""

BATCH_SIZE = "batch.size"  # rows of the batch, where it is another than planned because the model failed on that

EXPLAIN = "explain."
"""Columns that begin so say where the model looked, or what hiding a part of the image did (float32)."""

LOGIT = "logit."
"""Columns that begin so are float32, one for each class."""

PART = "part."
"""Columns that begin so are float64 and go to `parts/`."""


def is_metadata(name: str) -> bool:
    """Whether a column is one of those that say more of a row than every data set does."""
    return name in METADATA or name.startswith(META)


def wrong(rows: pl.DataFrame) -> NDArray[np.bool_]:
    """Which predictions are not the label.

    Raises:
        RunError: a row without a label, such as one of an image of none of the classes, which cannot be wrong.
    """
    if rows["label"].null_count():
        raise RunError(
            f"whether an answer is wrong is told by a label, and {rows['label'].null_count()} of {len(rows)} rows have "
            "none. Leave out images of none of the classes."
        )
    return np.asarray((rows["predicted"] != rows["label"]).to_numpy(), bool)


def groups(rows: pl.DataFrame) -> NDArray[np.str_] | None:
    """The unit of independence of each row, its own id where it has no group; None where no row has one."""
    if rows["group"].null_count() == len(rows):
        return None
    return unit_names(rows).to_numpy()


def unit_names(rows: pl.DataFrame) -> pl.Series:
    """The unit of independence of each row: its group, or else its own id."""
    return rows.select(pl.coalesce("group", pl.concat_str(pl.lit("image "), "sample_id")))["group"]


def frame(columns: Mapping[str, Any], logits: pl.DataFrame, signals: pl.DataFrame) -> pl.DataFrame:
    """A shard's table: the given columns in schema order, missing ones null, what else is known, logits and signals."""
    height = len(columns["sample_id"])
    base = [
        pl.Series(name, columns[name], dtype=dtype)
        if name in columns
        else pl.Series(name, [None] * height, dtype=dtype)
        for name, dtype in COLUMNS.items()
    ]
    known = [
        pl.Series(name, values, dtype=METADATA.get(name, pl.String()))
        for name, values in columns.items()
        if is_metadata(name)
    ]
    staged = [
        pl.Series(name, values, dtype=STAGED.get(name, pl.Int32()))
        for name, values in columns.items()
        if name in STAGED or name.startswith(PASSES)
    ]
    explained = [pl.Series(n, values, dtype=pl.Float32()) for n, values in columns.items() if n.startswith(EXPLAIN)]
    return pl.DataFrame([*base, *known, *staged, *explained]).hstack(logits).hstack(signals)


def validate(table: pl.DataFrame, where: str) -> pl.DataFrame:
    """The table itself, or an error that names the column that is missing or of another type."""
    schema = table.schema
    for name, dtype in COLUMNS.items():
        found = schema.get(name)
        if found != dtype:
            raise RunError(
                f"{where}: column {name!r} must be {dtype}; found {found or 'none'}. The file is damaged or older."
            )
    return table


def csv_bytes(table: pl.DataFrame) -> bytes:
    """A table for a spreadsheet: a text that one would take for a formula is led by an apostrophe."""
    defused = pl.col(pl.String).str.replace(f"({FORMULA})", "'$1")
    return table.with_columns(defused).write_csv().encode()


@dataclass(frozen=True)
class EncodedShard:
    """The files of a shard as bytes, so that they can be written by another process than measured them.

    Attributes:
        rows: how many there are.
        records: what `records/` has of them.
        parts: what `parts/` has of them, None where no score has parts.
    """

    rows: int
    records: bytes
    parts: bytes | None

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return len(self.records) + len(self.parts or b"")

    @classmethod
    def of(cls, table: pl.DataFrame, name: str) -> "EncodedShard":
        """A table as it is written, refused where a column is missing or of another type."""
        parts = [column for column in table.columns if column.startswith(PART)]
        return cls(
            rows=table.height,
            records=_parquet(validate(table.drop(parts), name)),
            parts=_parquet(table.select("sample_id", *parts)) if parts else None,
        )

    def table(self) -> pl.DataFrame:
        """The table that it was made of."""
        found = pl.read_parquet(io.BytesIO(self.records))
        return found if self.parts is None else found.hstack(pl.read_parquet(io.BytesIO(self.parts)).drop("sample_id"))

    def write(self, run: Path, name: str) -> dict[str, str]:
        """Write the parts, then the records, atomically; the hashes by which the manifest knows them."""
        found = {}
        for key, room, content in (("parts", "parts", self.parts), ("sha256", "records", self.records)):
            if content is not None:
                write_atomically(run / room / f"{name}.parquet", content)
                found[key] = hashlib.sha256(content).hexdigest()
        return found


def write_shard(run: Path, name: str, table: pl.DataFrame) -> str:
    """Write `records/<name>.parquet` atomically and return its sha256."""
    return EncodedShard.of(table, name).write(run, name)["sha256"]


def shard_entries(run: Path) -> list[Mapping[str, Any]]:
    """Every shard that is written, in planned order: by the manifest, and while an audit runs by its journal.

    Beside a journal a manifest may be gone or odd, as where it was damaged: the shards measured since stand there.

    Raises:
        RunError: there is neither a journal nor a manifest that lists shards.
    """
    lines = [json.loads(line) for line in whole_lines(run / JOURNAL)]
    try:
        listed = read_json(run / "manifest.json")
    except RunError:
        if not lines:
            raise
        listed = []
    if not lines and not isinstance(listed, list):
        raise RunError(f"{run / 'manifest.json'} lists no shards: it is another file. Run the same audit again.")
    newest = {entry["shard"]: entry for entry in [*manifest_entries(listed), *lines]}
    return [newest[name] for name in sorted(newest)]


def manifest_entries(listed: object) -> list[Mapping[str, Any]]:
    """Those entries of what was read as a manifest that are as they were written."""
    return [entry for entry in listed if is_entry(entry)] if isinstance(listed, list) else []


def is_entry(entry: object) -> bool:
    """Whether something is the entry of a shard, as it was written."""
    return isinstance(entry, dict) and {"shard", "condition", "rows", "sha256"} <= set(entry) and is_whole(entry)


def _parquet(table: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.write_parquet(buffer, compression="zstd", statistics=False)
    return buffer.getvalue()


def read(run: Path, condition: str | None = None, prefix_left_out: str | None = None) -> pl.DataFrame:
    """All rows of a run, or of one condition, in the order they were planned."""
    wanted = None if prefix_left_out is None else lambda name: not name.startswith(prefix_left_out)
    return pl.concat(read_pieces(run, condition, wanted), how="diagonal")


def read_pieces(run: Path, condition: str | None, wanted: Callable[[str], bool] | None) -> Iterator[pl.DataFrame]:
    """The same shard by shard, of all columns or of those whose names are `wanted`."""
    shards = [entry for entry in shard_entries(run) if condition in {None, entry["condition"]}]
    if not shards:
        raise RunError(
            f"{run} has no records{'' if condition is None else f' of {condition!r}'}. Run the audit to its end."
        )
    for entry in shards:
        yield _read_shard(run, entry, wanted)


def read_shard(run: Path, name: str, columns: Sequence[str]) -> pl.DataFrame:
    """Some columns of one shard by its name, whatever the manifest says of it.

    Raises:
        RunError: the file is no shard, or lacks a column.
    """
    path = fetched(run / "records" / f"{name}.parquet")
    with _readable(path):
        return pl.read_parquet(path, columns=list(columns))


def _read_shard(run: Path, entry: Mapping[str, Any], wanted: Callable[[str], bool] | None) -> pl.DataFrame:
    """The rows of one shard, which must be those that its entry in the manifest is about."""
    path = fetched(run / "records" / f"{entry['shard']}.parquet")
    if not path.exists():
        raise RunError(f"{run}: {path.name} is in the manifest and not in records/. Run the same audit again.")
    with _readable(path):
        schema = pl.read_parquet_schema(path)
        names = [name for name in schema if wanted is None or name == "condition" or wanted(name)]
        table = pl.read_parquet(path, columns=names)
    validate(pl.DataFrame(schema=schema), path.name)
    if len(table) != entry["rows"] or not (table["condition"] == entry["condition"]).all():
        raise RunError(
            f"{path} must have {entry['rows']} rows of {entry['condition']!r}, as manifest.json says; it has "
            f"{len(table)} of {', '.join(map(repr, table['condition'].unique().sort()[:2]))}. Run the same audit again."
        )
    return table if wanted is None or wanted("condition") else table.drop("condition")


def read_parts(run: Path, condition: str) -> pl.DataFrame | None:
    """`sample_id` and the parts of scores under a condition, in planned order; None unless every shard has them."""
    return read_parts_of(run, [entry for entry in shard_entries(run) if entry["condition"] == condition])


def read_parts_of(run: Path, entries: Sequence[Mapping[str, Any]]) -> pl.DataFrame | None:
    """The same of some shards."""
    paths = [run / "parts" / f"{entry['shard']}.parquet" for entry in entries]
    named = all("check" not in entry or "parts" in entry for entry in entries)  # earlier manifests name no parts
    if not paths or not named or not all(fetched(path).exists() for path in paths):
        return None
    with _readable(run / "parts"):
        return pl.concat(pl.read_parquet(path) for path in paths)


def read_with_parts(run: Path, condition: str, prefix_left_out: str | None = None) -> pl.DataFrame:
    """The rows of a condition, with the parts of their scores where they were kept and are of the same rows."""
    table, parts = read(run, condition, prefix_left_out), read_parts(run, condition)
    return table if parts is None else with_parts(table, parts)


def with_parts(table: pl.DataFrame, parts: pl.DataFrame) -> pl.DataFrame:
    """Rows beside the parts of their scores; alone where these are of other rows."""
    same = parts["sample_id"].equals(table["sample_id"])
    return table.hstack(parts.drop("sample_id")) if same else table


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise RunError(
            f"{path} cannot be read ({error}). Run the same audit again; it measures the shard anew."
        ) from None
