"""What was counted and sampled of a run, kept in its folder as files that are worked out of the others.

`aggregates/` has `facts.json` (of which manifest, by which version of these files), `rows.parquet`, `grid.parquet`,
`ends.parquet`, `effort.parquet`, `logits.parquet` and `sample-NNN.parquet`, one for each condition in its order; of
images in groups `groups-….parquet`, too.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Literal, TypeAlias

import numpy as np
import polars as pl

from demur.analysis.aggregates.counted_rows import CountedRun
from demur.analysis.aggregates.group_lines import GroupCounts
from demur.analysis.aggregates.image_sample import sample_tables
from demur.analysis.aggregates.shard_counts import ShardCounts, count_shards, has_logits
from demur.analysis.row_sample import RowSample
from demur.analysis.run_folder import Run
from demur.files import json_bytes
from demur.metrics.calibration_sums import CalibrationSums
from demur.metrics.grouped_calibration import GroupedCalibration
from demur.records import shard_entries
from demur.seal import MANIFEST, file_sha256, is_intact, write_sealed

Rows: TypeAlias = Literal["auto", "all", "counted"]
"""Whether every row is held, or all are counted and a sample of them is held; by default as many rows as there are."""

MOST_ROWS = 2_000_000
"""More rows than this are counted rather than held."""

MOST_LOGITS = 250_000_000
"""So are rows where the clean ones would have more logits than this, which take a gigabyte."""

FOLDER = "aggregates"
_FACTS = f"{FOLDER}/facts.json"
_VERSION = 5
_COUNTS = ("rows", "grid", "ends", "effort")
_GROUPS = tuple(f"groups-{each.name}" for each in fields(GroupCounts))


def chosen_counts(run: Run, rows: Rows = "auto", *, keep: bool = True) -> CountedRun | None:
    """A run that is counted, as was asked or because of the number of its rows; None where all are to be held."""
    if rows == "all" or (rows == "auto" and not _is_large(run)):
        return None
    return counted_run(run, keep=keep)


def _is_large(run: Run) -> bool:
    """Whether a run has more rows, or more logits, than are held."""
    planned = run.planned_rows
    if sum(planned.values()) > MOST_ROWS:
        return True
    return planned.get("clean", 0) * len(run.classes) > MOST_LOGITS and has_logits(run, shard_entries(run.path))


def counted_run(run: Run, *, keep: bool = True) -> CountedRun:
    """A run with a sample of its rows and the counts of all, as they were kept, or else made now and kept.

    What was made is read back: tables that were put together of thousands of parts hold more than their rows.
    """
    if kept_of(run) != file_sha256(run.path / MANIFEST):
        made = _made(run)
        if not keep:
            return made
        _keep(made)
        del made
    return _kept(run)


def kept_of(run: Run) -> str | None:
    """The hash of the manifest that the kept files are of; None where there are none, or one of them was changed."""
    try:
        facts = json.loads((run.path / _FACTS).read_bytes())
        names = [_FACTS, *facts["files"]]
        whole = facts["version"] == _VERSION and all(is_intact(run.path, name) for name in names)
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return str(facts["manifest"]) if whole else None


def _made(run: Run) -> CountedRun:
    entries = shard_entries(run.path)
    tables, logits = sample_tables(run, entries)
    sampled = replace(run, sample=RowSample(tables, logits, pl.DataFrame()))
    counts = count_shards(sampled, entries)
    return CountedRun(replace(run, sample=RowSample(tables, logits, counts.effort)), counts)


def _keep(found: CountedRun) -> None:
    run, counts = found.run, found.counts
    assert run.sample is not None
    tables = {name: getattr(counts, name) for name in _COUNTS} | {"logits": run.sample.logits}
    tables |= {} if counts.groups is None else {f"groups-{name}": each for name, each in counts.groups.tables.items()}
    tables |= {f"sample-{at:03d}": table for at, table in enumerate(run.sample.tables.values())}
    sums = None if counts.calibration is None else counts.calibration.arrays
    facts = {
        "version": _VERSION,
        "manifest": file_sha256(run.path / MANIFEST),
        "files": [f"{FOLDER}/{name}.parquet" for name in tables],
        "calibration": None if sums is None else {name: each.tolist() for name, each in sums.items()},
    }
    for name, table in tables.items():
        buffer = io.BytesIO()
        table.write_parquet(buffer, compression="zstd")
        write_sealed(run.path, {f"{FOLDER}/{name}.parquet": buffer.getvalue()})
    write_sealed(run.path, {_FACTS: json_bytes(facts)})


def _kept(run: Run) -> CountedRun:
    facts = json.loads((run.path / _FACTS).read_bytes())
    names = [entry["name"] for entry in run.facts["conditions"]]
    tables = {name: _read(run, f"sample-{at:03d}") for at, name in enumerate(names)}
    rows, grid, ends, effort = (_read(run, name) for name in _COUNTS)
    groups = [_read(run, name) for name in _GROUPS] if run.facts["groups"] is not None else []
    counts = ShardCounts(
        rows, grid, ends, effort, _sums(facts["calibration"]), GroupCounts(*groups) if groups else None
    )
    return CountedRun(replace(run, sample=RowSample(tables, _read(run, "logits"), counts.effort)), counts)


def _read(run: Run, name: str) -> pl.DataFrame:
    return pl.read_parquet(run.path / FOLDER / f"{name}.parquet")


def _sums(kept: Mapping[str, list[float]] | None) -> CalibrationSums | GroupedCalibration | None:
    if kept is None:
        return None
    sums = GroupedCalibration if "noise" in kept else CalibrationSums
    return sums(**{name: np.asarray(each) for name, each in kept.items()})
