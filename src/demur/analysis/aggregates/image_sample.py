"""Which rows stand for all where there are too many: those of images chosen by a hash of their ids, and what failed."""

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from demur.analysis.aggregates.shard_counts import batch_rows, read_shards, together
from demur.analysis.run_folder import Run
from demur.records import LOGIT, read_parts_of, with_parts

Entries = Sequence[Mapping[str, Any]]

CLEAN_ROWS, CORRUPTED_ROWS, OWN_ROWS = 100_000, 200_000, 20_000
"""Rows of clean images that are kept, of corrupted ones in all, and of each condition that is of images of its own."""

CLEAN_LOGITS = 20_000_000
"""Fewer clean rows are kept where they have more logits than this."""

_SPAN = 2**64
_PENDING_ROWS, _PENDING = 20_000, 20


def sample_tables(run: Run, entries: Entries) -> tuple[dict[str, pl.DataFrame], pl.DataFrame]:
    """Some rows of every condition, and the logits of the clean ones.

    Clean images are those of the sample and all that another condition keeps a row of, so that each row has its own
    clean one beside it. Corrupted images are the same under every corruption. All are chosen by their ids alone.
    """
    planned, kinds = run.planned_rows, {entry["name"]: entry["kind"] for entry in run.facts["conditions"]}
    corrupted = [name for name, kind in kinds.items() if kind == "corruption"]
    found = _corrupted(run, entries, corrupted, CORRUPTED_ROWS / max(1, sum(planned[name] for name in corrupted)))
    for name in (name for name in kinds if name not in found and name != "clean"):
        found[name] = _rows(run, entries, name, _by_hash(OWN_ROWS / max(1, planned[name])))
    ids = [table["sample_id"] for name, table in found.items() if kinds[name] != "unknown"]
    beside = pl.concat(ids).unique().implode() if ids else None
    own = _by_hash(min(CLEAN_ROWS, CLEAN_LOGITS // max(1, len(run.classes))) / max(1, planned["clean"]))
    clean = _rows(run, entries, "clean", lambda ids: own(ids) | _among(ids, beside), logits=True)
    names = [name for name in clean.columns if name.startswith(LOGIT)]
    tables = {"clean": clean.drop(names)} | found
    return {name: tables[name] for name in kinds}, clean.select("sample_id", *names)


def _corrupted(run: Run, entries: Entries, names: Sequence[str], share: float) -> dict[str, pl.DataFrame]:
    """Rows of the same images under each corruption: such a share of those of the first."""
    if not names:
        return {}
    own, (first, *others) = _by_hash(share), names
    rows = _rows(run, entries, first, own)
    kept = rows["sample_id"].filter(own(rows["sample_id"])).implode()
    return {first: rows} | {name: _rows(run, entries, name, lambda ids: _among(ids, kept)) for name in others}


def _among(ids: pl.Series, chosen: pl.Series | None) -> pl.Series:
    return pl.Series([False] * len(ids), dtype=pl.Boolean) if chosen is None else ids.is_in(chosen)


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
    most = min(_PENDING_ROWS, batch_rows(len(run.classes) if logits else 0))
    pending, packed = list[pl.DataFrame](), list[bytes]()
    for table in _chosen(run, own, chosen, logits=logits):
        pending.append(table)
        if sum(map(len, pending)) > most or len(pending) > _PENDING:
            packed.append(_packed(pending))
            pending = []
    packed += [_packed(pending)] if pending else []
    if not packed:
        return _none(run, entries)
    packed.reverse()  # each is let go once it is read
    return pl.concat([pl.read_parquet(packed.pop()) for _ in range(len(packed))], how="diagonal")


def _packed(tables: list[pl.DataFrame]) -> bytes:
    """Rows without what they were taken from: texts that were filtered hold all texts they lay among."""
    buffer = io.BytesIO()
    pl.concat(tables, how="diagonal").write_parquet(buffer, compression="lz4")
    return buffer.getvalue()


def _none(run: Run, entries: Entries) -> pl.DataFrame:
    """No rows, with the columns of clean ones."""
    first = next(entry for entry in entries if entry["condition"] == "clean")
    return read_shards(run.path, [first], _schema(run.path, [first], logits=False)).clear()


def _chosen(run: Run, entries: Entries, chosen: Any, *, logits: bool) -> Iterator[pl.DataFrame]:
    path = run.path
    scored_apart = all("parts" in entry for entry in entries)
    for some in together(entries, batch_rows(len(run.classes) if logits else 0)):
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
