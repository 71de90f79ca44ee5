"""What the rows of a shard have to be before the shard counts, told by a few of its columns.

Hashes tell that a file is the one that was written, not that what was written is a shard: one of a faulty tool, or
made by hand, may have both right and would be counted. What `run.json` says of classes, signals and conditions is
enough to tell.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from demur.errors import RunError
from demur.files import fetched
from demur.parquet_files import DAMAGED
from demur.records import COLUMNS, LOGIT, PART, validate

_SCORED = frozenset({"clean", "attack", "corruption", "unknown"})
_READ = ("sample_id", "split", "label", "condition", "predicted", "error")


@dataclass(frozen=True, kw_only=True)
class RowContract:
    """What every row of a run has to be.

    Attributes:
        classes: how many there are.
        signals: their names.
        conditions: what `run.json` says of each, in their order.
    """

    classes: int
    signals: tuple[str, ...]
    conditions: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "RowContract":
        """That of a run, by its `run.json`."""
        return cls(
            classes=len(facts["classes"]),
            signals=tuple(each["name"] for each in facts["signals"]),
            conditions=tuple(facts["conditions"]),
        )

    def fault(self, run: Path, entry: Mapping[str, Any]) -> str | None:
        """What is wrong with the files of a shard, by its entry in the manifest; None where nothing is."""
        condition = self._condition_of(str(entry["shard"]))
        if condition is None or condition["name"] != entry["condition"]:
            return f"no shard of {entry['condition']!r} is planned under its name"
        try:
            return next(self._faults(run, entry, condition), None)
        except RunError as error:
            return str(error).removesuffix(" The file is damaged or older.").rstrip(".")
        except (*DAMAGED, ValueError) as error:
            return f"it cannot be read as Parquet ({str(error).partition(chr(10))[0]:.120})"

    def _condition_of(self, name: str) -> Mapping[str, Any] | None:
        found = re.fullmatch(r"c([0-9]{3,9})-s[0-9]{4,9}", name)
        return self.conditions[int(found[1])] if found and int(found[1]) < len(self.conditions) else None

    def _faults(self, run: Path, entry: Mapping[str, Any], condition: Mapping[str, Any]) -> Iterator[str]:
        path = fetched(run / "records" / f"{entry['shard']}.parquet")
        schema = pl.read_parquet_schema(path)
        validate(pl.DataFrame(schema={name: schema[name] for name in COLUMNS if name in schema}), "its columns")
        signals = [f"signal.{name}" for name in self.signals] if condition["kind"] in _SCORED else []
        types = {**{f"{LOGIT}{k}": pl.Float32() for k in range(self.classes)}, **dict.fromkeys(signals, pl.Float64())}
        for name, dtype in types.items():
            if schema.get(name) != dtype:
                yield f"its column {name!r} must be {dtype}; found {schema.get(name, 'none')}"
        table = pl.read_parquet(path, columns=[*_READ, *signals])
        yield from _identity_faults(table, entry)
        yield from self._answer_faults(table, condition)
        yield from _score_faults(table, signals)
        if entry.get("parts"):
            yield from _part_faults(fetched(run / "parts" / path.name), table["sample_id"])

    def _answer_faults(self, table: pl.DataFrame, condition: Mapping[str, Any]) -> Iterator[str]:
        located = condition.get("part") not in {"object", "background"}  # else some images may not have that part
        measured = table.filter(pl.col("error").is_null())
        for name, rows, needed in (("label", table, condition["kind"] != "unknown"), ("predicted", measured, located)):
            wrong = rows.filter(~pl.col(name).is_between(0, self.classes - 1)).height
            wrong += rows[name].null_count() if needed else 0
            if wrong:
                yield f"{name} is none of the {self.classes} classes on {wrong} of its {table.height} rows"


def _identity_faults(table: pl.DataFrame, entry: Mapping[str, Any]) -> Iterator[str]:
    if table.height != entry["rows"] or not (table["condition"] == entry["condition"]).all():
        yield f"it must have {entry['rows']} rows, all of {entry['condition']!r}; it has {table.height}, or of others"
    for name in ("sample_id", "split", "condition"):
        if table[name].null_count():
            yield f"{name} is empty on {table[name].null_count()} of its {table.height} rows"
    if table["sample_id"].n_unique() != table.height:
        yield "an image is in it twice"


def _score_faults(table: pl.DataFrame, signals: Iterable[str]) -> Iterator[str]:
    for name in signals:
        undefined = table.filter(pl.col("error").is_null(), pl.col(name).is_null() | pl.col(name).is_nan()).height
        if undefined:
            yield f"{name} is no number on {undefined} of its {table.height} rows"


def _part_faults(path: Path, ids: pl.Series) -> Iterator[str]:
    schema = pl.read_parquet_schema(path)
    other = [name for name, dtype in schema.items() if name.startswith(PART) and dtype != pl.Float64]
    if other or not pl.read_parquet(path, columns=["sample_id"])["sample_id"].equals(ids):
        yield "the parts of its scores are of other rows, or no numbers"
