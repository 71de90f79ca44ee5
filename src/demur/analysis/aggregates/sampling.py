"""Which rows stand for all where there are too many: those of images chosen by a hash of their ids, and what failed."""

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from demur.analysis.aggregates.shard_counts import BATCH_ROWS, read_shards, together
from demur.analysis.run_folder import Run
from demur.records import LOGIT, read_parts_of, with_parts

Entries = Sequence[Mapping[str, Any]]

FORWARD_ROWS, OWN_ROWS = 200_000, 20_000
"""Rows of clean and corrupted images that are kept in all, and of each condition that is of images of its own."""

_SPAN = 2**64
_PENDING_ROWS, _PENDING = 20_000, 20


def sample_tables(run: Run, entries: Entries) -> tuple[dict[str, pl.DataFrame], pl.DataFrame]:
    """Some rows of every condition, and the logits of the clean ones.

    Clean images are those of the sample and all that an attack or a section keeps a row of, so that each row has its
    own clean one beside it. Corrupted images are those of the sample. All of them are chosen by their ids alone.
    """
    planned, kinds = run.planned_rows, {entry["name"]: entry["kind"] for entry in run.facts["conditions"]}
    forward = [name for name, kind in kinds.items() if kind in {"clean", "corruption"}]
    share = FORWARD_ROWS / max(1, len(forward) * planned["clean"])
    found, chosen = dict[str, pl.DataFrame](), set[str]()
    for name in (name for name in kinds if name not in forward):
        found[name] = _rows(run, entries, name, _by_hash(OWN_ROWS / max(1, planned[name])))
        chosen |= set(found[name]["sample_id"]) if kinds[name] != "unknown" else set()
    own = _by_hash(share)
    clean = _rows(run, entries, "clean", lambda ids: own(ids) | ids.is_in(chosen), logits=True)
    ids = clean["sample_id"].filter(own(clean["sample_id"]))
    for name in forward:
        if name != "clean":
            found[name] = _rows(run, entries, name, lambda rows: rows.is_in(ids.implode()))
    names = [name for name in clean.columns if name.startswith(LOGIT)]
    tables = {"clean": clean.drop(names)} | found
    return {name: tables[name] for name in kinds}, clean.select("sample_id", *names)


def _by_hash(share: float) -> Any:
    """Whether a row is among such a share, by the hash of its id: always the same, and fewer are part of more."""
    most = int(min(1.0, share) * _SPAN)

    def chosen(ids: pl.Series) -> pl.Series:
        kept = (int.from_bytes(hashlib.blake2b(each.encode(), digest_size=8).digest()) < most for each in ids)
        return pl.Series(kept if most < _SPAN else [True] * len(ids), dtype=pl.Boolean)

    return chosen


def _rows(run: Run, entries: Entries, condition: str, chosen: Any, *, logits: bool = False) -> pl.DataFrame:
    """The rows of a condition that are chosen by their ids, those that failed among them, in the order planned."""
    own = [entry for entry in entries if entry["condition"] == condition]
    pending, packed = list[pl.DataFrame](), list[bytes]()
    for table in _chosen(run.path, own, chosen, logits=logits):
        pending.append(table)
        if sum(map(len, pending)) > _PENDING_ROWS or len(pending) > _PENDING:
            packed.append(_packed(pending))
            pending = []
    packed += [_packed(pending)] if pending else []
    return pl.concat(map(pl.read_parquet, packed), how="diagonal") if packed else _none(run, entries)


def _packed(tables: list[pl.DataFrame]) -> bytes:
    """Rows without what they were taken from: texts that were filtered hold all texts they lay among."""
    buffer = io.BytesIO()
    pl.concat(tables, how="diagonal").write_parquet(buffer, compression="lz4")
    return buffer.getvalue()


def _none(run: Run, entries: Entries) -> pl.DataFrame:
    """No rows, with the columns of clean ones."""
    first = next(entry for entry in entries if entry["condition"] == "clean")
    return read_shards(run.path, [first], _schema(run.path, [first], logits=False)).clear()


def _chosen(path: Path, entries: Entries, chosen: Any, *, logits: bool) -> Iterator[pl.DataFrame]:
    scored_apart = all("parts" in entry for entry in entries)
    for some in together(entries, BATCH_ROWS):
        table = read_shards(path, some, _schema(path, some, logits=logits))
        kept = chosen(table["sample_id"]) | table["error"].is_not_null()
        parts = read_parts_of(path, some) if scored_apart else None
        yield (table if parts is None else with_parts(table, parts)).filter(kept)


def _schema(path: Path, entries: Entries, *, logits: bool) -> dict[str, Any]:
    """The columns of some shards; logits are as many as there are classes."""
    found: dict[str, Any] = {}
    for entry in entries:
        found |= pl.read_parquet_schema(path / "records" / f"{entry['shard']}.parquet")
    return {name: kind for name, kind in found.items() if logits or not name.startswith(LOGIT)}
