"""Which rows stand for all where there are too many: those of images chosen by a hash of their ids, and what failed."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from demur.analysis.aggregates.shard_counts import batch_rows, read_shards, together
from demur.analysis.row_design import alike
from demur.analysis.run_folder import Run
from demur.metrics.units import id_hashes
from demur.records import ALIKE, COLUMNS, DESIGN, DRAWN, LOGIT, STANDS_FOR, STRATUM, read_parts_of, with_parts

Entries: TypeAlias = Sequence[Mapping[str, Any]]
Chosen: TypeAlias = Callable[[pl.DataFrame], pl.Series]
"""Which rows are kept."""

CLEAN_ROWS, CORRUPTED_ROWS, OWN_ROWS = 100_000, 200_000, 20_000
"""Rows of clean images that are kept, of corrupted ones in all, and of each condition that is of images of its own."""

CLEAN_LOGITS = 20_000_000
"""Fewer clean rows are kept where they have more logits than this."""

WEIGHTED_ROWS, _LEAST = 500_000, 30
"""Rows with design weights that are kept, of all conditions; of each stratum at least so many, if there are."""

_SPAN = 2**64
_PENDING_ROWS, _PENDING = 20_000, 20


def sample_tables(run: Run, entries: Entries) -> tuple[dict[str, pl.DataFrame], pl.DataFrame]:
    """Some rows of every condition, and the logits of the clean ones.

    Clean images are those of the sample and all that another condition keeps a row of, so that each row has its own
    clean one beside it. Corrupted images are the same under every corruption. All are chosen by their ids alone.
    A condition whose rows are a sample already, with more of rare strata, keeps all of them, or as many of each stratum
    as there is room for; clean rows say then which of them are no more than their share.
    """
    planned, kinds = run.planned_rows, {entry["name"]: entry["kind"] for entry in run.facts["conditions"]}
    corrupted = [name for name, kind in kinds.items() if kind == "corruption" and name not in run.weighted]
    found = _corrupted(run, entries, corrupted, CORRUPTED_ROWS / max(1, sum(planned[name] for name in corrupted)))
    held = WEIGHTED_ROWS / max(1, sum(planned[name] for name in run.weighted))
    found |= {name: _weighted(run, entries, name, held) for name in run.weighted}
    for name in (name for name in kinds if name not in found and name != "clean"):
        found[name] = _rows(run, entries, name, _by_hash(OWN_ROWS / max(1, planned[name])))
    beside = [table for name, table in found.items() if kinds[name] != "unknown"]
    every, fair = _ids(beside), _ids([alike(table) for table in beside])
    own = _by_hash(min(CLEAN_ROWS, CLEAN_LOGITS // max(1, len(run.classes))) / max(1, planned["clean"]))
    clean = _rows(run, entries, "clean", lambda rows: own(rows) | _among(rows, every), logits=True)
    names = [name for name in clean.columns if name.startswith(LOGIT)]
    rows = clean.drop(names)
    if run.weighted:
        rows = rows.with_columns((own(rows) | _among(rows, fair)).alias(ALIKE))
    tables = {"clean": rows} | found
    return {name: tables[name] for name in kinds}, clean.select("sample_id", *names)


def _ids(tables: Sequence[pl.DataFrame]) -> pl.Series | None:
    return pl.concat(table["sample_id"] for table in tables).unique().implode() if tables else None


def _corrupted(run: Run, entries: Entries, names: Sequence[str], share: float) -> dict[str, pl.DataFrame]:
    """Rows of the same images under each corruption: such a share of those of the first."""
    if not names:
        return {}
    own, (first, *others) = _by_hash(share), names
    rows = _rows(run, entries, first, own)
    kept = rows["sample_id"].filter(own(rows)).implode()
    return {first: rows} | {name: _rows(run, entries, name, lambda rows: _among(rows, kept)) for name in others}


def _weighted(run: Run, entries: Entries, condition: str, share: float) -> pl.DataFrame:
    """Rows of a condition with design weights: such a share of each stratum, by hash, and no fewer than the least.

    Each then stands for as many more as others of its stratum are left out.
    """
    if share >= 1:
        return _rows(run, entries, condition, _by_hash(1.0))
    own = [entry for entry in entries if entry["condition"] == condition]
    schema = {name: COLUMNS[name] for name in ("sample_id", "condition")} | {STRATUM: DESIGN[STRATUM]}
    read = (read_shards(run.path, some, schema) for some in together(own, batch_rows(0)))
    seen = [(table[STRATUM].to_numpy(), id_hashes(table["sample_id"])) for table in read]
    strata, hashes = (np.concatenate([table[at] for table in seen]) for at in range(2))
    last, kept = thinning(strata, hashes, share)
    found = _rows(
        run, entries, condition, lambda rows: pl.Series(id_hashes(rows["sample_id"]) <= last[rows[STRATUM].to_numpy()])
    )
    number = kept[found[STRATUM].to_numpy()]
    return found.with_columns(
        pl.col(STANDS_FOR) * pl.col(DRAWN) / pl.Series(number, dtype=pl.Float64()),
        pl.Series(DRAWN, number, dtype=DESIGN[DRAWN]),
        pl.col(ALIKE) & _by_hash(share)(found),
    )


def thinning(
    strata: NDArray[np.int32], hashes: NDArray[np.uint64], share: float
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Which of the rows drawn of each stratum are kept: the hash of the last one, and how many they are.

    Args:
        strata: the number of the stratum of each row.
        hashes: by which rows are chosen.
        share: of the rows of a stratum that are kept, below 1; where these are fewer than the least, so many.
    """
    order = np.lexsort((hashes, strata))
    numbers, starts, counts = np.unique(strata[order], return_index=True, return_counts=True)
    last = np.zeros(int(numbers.max(initial=-1)) + 1, np.uint64)
    last[numbers] = np.maximum(hashes[order][starts + np.minimum(counts, _LEAST) - 1], np.uint64(_end_of(share) - 1))
    return last, np.bincount(strata[hashes <= last[strata]], minlength=len(last))


def _among(rows: pl.DataFrame, chosen: pl.Series | None) -> pl.Series:
    return pl.Series([False] * len(rows), dtype=pl.Boolean) if chosen is None else rows["sample_id"].is_in(chosen)


def _by_hash(share: float) -> Chosen:
    """Whether a row is among such a share, by the hash of its id: always the same, and fewer are part of more."""
    if share >= 1:
        return lambda rows: pl.Series([True] * len(rows), dtype=pl.Boolean)
    return lambda rows: pl.Series(id_hashes(rows["sample_id"]) < np.uint64(_end_of(share)), dtype=pl.Boolean)


def _end_of(share: float) -> int:
    """The hash from which on rows are not among such a share, below 1."""
    return max(1, int(share * _SPAN))


def _rows(run: Run, entries: Entries, condition: str, chosen: Chosen, *, logits: bool = False) -> pl.DataFrame:
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


def _chosen(run: Run, entries: Entries, chosen: Chosen, *, logits: bool) -> Iterator[pl.DataFrame]:
    path = run.path
    scored_apart = all("parts" in entry for entry in entries)
    for some in together(entries, batch_rows(len(run.classes) if logits else 0)):
        table = read_shards(path, some, _schema(path, some, logits=logits))
        kept = chosen(table) | table["error"].is_not_null()
        parts = read_parts_of(path, some) if scored_apart else None
        yield (table if parts is None else with_parts(table, parts)).filter(kept)


def _schema(path: Path, entries: Entries, *, logits: bool) -> dict[str, Any]:
    """The columns of some shards; logits are as many as there are classes."""
    found: dict[str, Any] = {}
    for entry in entries:
        found |= pl.read_parquet_schema(path / "records" / f"{entry['shard']}.parquet")
    return {name: kind for name, kind in found.items() if logits or not name.startswith(LOGIT)}
