"""What the clean shards of a run have fixed, by which every part of the second phase goes, and its hash."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from demur import seal
from demur.errors import RunError
from demur.files import json_bytes, read_json
from demur.pipeline.job import shard_rows
from demur.pipeline.plan.conditions import CLEAN
from demur.pipeline.run.crashes import NAME as CRASHES
from demur.pipeline.run.kept_signals import ORIGIN, damaged_signals
from demur.pipeline.run.mending import FIXED, POLICIES
from demur.pipeline.run.run_metadata import NAME as METADATA
from demur.pipeline.run.run_writer import RunWriter


def frozen_sha256(run: Path) -> str:
    """The hash of what a run folder has fixed: its policies, its fitted signals and its clean shards.

    Raises:
        RunError: nothing is fixed in it yet, or some of it is gone or was changed since; what is to be run is said.
    """
    if not (run / POLICIES).is_file():
        raise RunError(f"{run} is not frozen: it lacks {POLICIES}. Merge the clean parts, then: demur freeze {run}")
    for name in _damaged(run):
        what = "is not the file that was written" if (run / name).exists() else "is gone"
        way_out = "demur merge PART… --out" if name == CRASHES else "demur freeze"
        raise RunError(f"{run} is not as it was frozen: {name} {what}. It is made anew by: {way_out} {run}")
    clean = {name: entry["sha256"] for name, entry in RunWriter(run).shards().items() if is_clean(entry)}
    planned = [name for name in planned_shards(read_json(run / METADATA)) if name.startswith("c000-")]
    missing = [name for name in planned if name not in clean]
    if missing:
        raise RunError(
            f"{run} is not as it was frozen: it lacks {len(missing)} of {len(planned)} clean shards, first "
            f"{missing[0]}. Merge the clean parts into it again: demur merge PART… --out {run}"
        )
    fixed = {name: seal.file_sha256(run / name) for name in (*FIXED, ORIGIN)}
    return seal.sha256_of(json_bytes({**fixed, "clean": clean}))


def _damaged(run: Path) -> Iterator[str]:
    """Files by which parts go that are gone, were changed, or are vouched for no more."""
    try:
        sealed = seal.read_seal(run) or {}
    except RunError:
        yield seal.FILE
        return
    needs = (METADATA, *FIXED, *((CRASHES,) if CRASHES in sealed else ()))
    yield from (name for name in needs if not seal.is_intact(run, name))
    yield from damaged_signals(run)


def is_clean(entry: Mapping[str, Any]) -> bool:
    """Whether the entry of a shard is of the images as they are."""
    return entry["condition"] == CLEAN.name


def planned_shards(facts: Mapping[str, Any]) -> dict[str, int]:
    """The shards of a run by what `run.json` says of it, and the rows of each."""
    most, found = shard_rows(facts["input_shape"]), dict[str, int]()
    for number, condition in enumerate(facts["conditions"]):
        for shard, start in enumerate(range(0, condition["rows"], most)):
            found[f"c{number:03d}-s{shard:04d}"] = min(most, condition["rows"] - start)
    return found
