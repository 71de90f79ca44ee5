"""Shards of a run folder that do not count, for their rows are none: they are struck off its lists, and said."""

from collections.abc import Collection, Mapping

from demur import seal
from demur.files import read_json, write_json
from demur.pipeline.run.row_contract import RowContract
from demur.pipeline.run.run_metadata import NAME as METADATA
from demur.pipeline.run.run_writer import RunWriter


def strike_faulty(folder: RunWriter) -> Mapping[str, str]:
    """Strike off the shards whose rows are none, so that they are measured anew; what is wrong, by their names."""
    contract = RowContract.of(read_json(folder.path / METADATA))
    entries = folder.shards()
    found = {name: why for name, entry in entries.items() if (why := contract.fault(folder.path, entry)) is not None}
    if found:
        folder.log("shards do not count", faults=found)
        strike(folder, found)
    return found


def strike(folder: RunWriter, names: Collection[str]) -> None:
    """Vouch no more for some shards and what follows from them; a folder that was killed at it does it again."""
    if not set(names) & set(folder.shards()):
        return
    folder.reopen(names)
    left = {name: entry for name, entry in folder.shards().items() if name not in names}
    write_json(folder.path / seal.MANIFEST, [left[name] for name in sorted(left)])
    folder.end_journal()


def shard_words(place: object, name: str, why: str) -> str:
    """A sentence on a shard that does not count."""
    return f"{place}/records/{name}.parquet does not count: {why}"
