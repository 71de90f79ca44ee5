"""The shards of parts, put into one run folder: each once, as it was written, of the same model, data and plan."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from demur import seal
from demur.errors import InputError, RunError
from demur.files import fetched, read_json
from demur.pipeline.plan.conditions import CLEAN
from demur.pipeline.plan.plan_file import read_plan
from demur.pipeline.run.crashes import NAME as CRASHES
from demur.pipeline.run.frozen import frozen_sha256, is_clean, planned_shards
from demur.pipeline.run.mending import POLICIES
from demur.pipeline.run.model_answers import NAME as ANSWERS
from demur.pipeline.run.model_answers import compared_answers
from demur.pipeline.run.out_folders import PART, is_run, refuse_others, refuse_part
from demur.pipeline.run.planned_effort import adopt_effort
from demur.pipeline.run.row_contract import RowContract
from demur.pipeline.run.run_metadata import NAME as METADATA
from demur.pipeline.run.run_metadata import check_same_run, other_versions
from demur.pipeline.run.run_writer import RunWriter, open_run, try_folder
from demur.pipeline.run.struck_shards import shard_words, strike_faulty
from demur.records import read_shard


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What a merged folder holds.

    Attributes:
        folder: where.
        added: shards that came with this call.
        there: those that were there, or came twice, of which the first stays.
        missing: names of the shards that no part has brought, the clean ones and the others.
        frozen: whether what the clean shards fix is fixed.
        notes: what differs between parts and forbids nothing, a sentence each.
    """

    folder: Path
    added: int
    there: int
    missing_clean: tuple[str, ...]
    missing: tuple[str, ...]
    frozen: bool
    notes: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether nothing is left to measure but what is no row."""
        return self.frozen and not self.missing_clean and not self.missing


def merge_parts(parts: Sequence[Path], out: Path) -> Merged:
    """Put the shards of parts into a run folder, made if it is not there; a shard that is there already stays.

    Parts stay as they are, and may be merged as soon as some of them are done. Until the folder is frozen only clean
    shards are taken.

    Raises:
        InputError: a folder is no part of an audit.
        RunError: parts are of other models, data or plans than the first, were measured after another freeze, or a
            file of one was changed.
    """
    plans = {_plan_of(part) for part in parts}
    if len(plans) > 1:
        raise RunError(_different(parts))
    refuse_others(out)
    refuse_part(out, "a merge into it")
    try_folder(out)
    with open_run(out, read_plan(parts[0] / "plan.toml", (), {})) as folder:
        notes = [note for part in parts for note in _met(folder, part)]
        struck = strike_faulty(folder)
        notes += [f"{shard_words(out, name, why)}." for name, why in struck.items()]
        planned, have = planned_shards(read_json(out / METADATA)), folder.shards()
        clean = [_adopt(folder, part, _brought(part, clean=True), planned, have) for part in parts]
        fixed = (out / POLICIES).is_file() and not any(name.startswith("c000-") for name in struck)
        if not fixed or CRASHES in folder.harmed:
            _take_crashes(folder, parts)
        frozen = frozen_sha256(out) if fixed else None
        late = [] if frozen is None else [_adopt_late(folder, part, planned, have, frozen) for part in parts]
        adopted = [*clean, *late]
        notes += [fault for each in adopted for fault in each.faults]
        for part in parts:
            if (part / PART).exists():
                adopt_effort(folder, part, read_json(part / PART)["part"])
        missing = [name for name in planned if name not in have]
    return Merged(
        folder=out,
        added=sum(each.added for each in adopted),
        there=sum(each.there for each in adopted),
        missing_clean=tuple(name for name in missing if name.startswith("c000-")),
        missing=tuple(name for name in missing if not name.startswith("c000-")),
        frozen=frozen is not None,
        notes=tuple(dict.fromkeys(notes)),
    )


def _plan_of(part: Path) -> bytes:
    if not (part / "plan.toml").is_file() or not (part / METADATA).is_file():
        raise InputError(
            f"{part} is no part of an audit: it lacks plan.toml or {METADATA}. Name folders that "
            "`demur audit … --shard i/N --out DIR` wrote."
        )
    if not RunWriter(part).has("plan.toml"):
        raise seal.changed(part, "plan.toml")
    return (part / "plan.toml").read_bytes()


def _text(plan: bytes) -> str:
    return plan.decode("utf-8", "replace")


def _different(parts: Sequence[Path]) -> str:
    common = Counter(_plan_of(part) for part in parts).most_common(1)[0][0]
    other = next(part for part in parts if _plan_of(part) != common)
    lines = set(_text(_plan_of(other)).splitlines()) ^ set(_text(common).splitlines())
    return (
        f"{other} is of another plan than most parts; these lines differ: {'; '.join(sorted(lines)[:6])}. Parts of one "
        "audit have one plan: merge those."
    )


def _met(folder: RunWriter, part: Path) -> Iterator[str]:
    """Refuse a part of another run; what it says of the run is taken over where nothing was said yet."""
    own = RunWriter(part)
    for name in (METADATA, ANSWERS, PART):
        if not own.has(name) and (name != PART or (part / PART).exists()):
            raise seal.changed(part, name)
    for name in (METADATA, ANSWERS):
        if not folder.has(name):
            folder.write({name: (part / name).read_bytes()})
    before, now = read_json(folder.path / METADATA), read_json(part / METADATA)
    check_same_run(folder, before, now)
    yield from (f"{part}: {note}" for note in other_versions(before, now))
    answers = compared_answers(read_json(folder.path / ANSWERS), read_json(part / ANSWERS), folder)
    yield from (f"{part}: {note}" for note in answers)


def _take_crashes(folder: RunWriter, parts: Sequence[Path]) -> None:
    """Images that end processes cannot be read from now on, whichever part has met them, but for one that was measured.

    So whoever freezes and whoever measures what follows meets none of them.
    """
    own = [each for each in (*map(RunWriter, parts), folder) if each.has(CRASHES)]
    found = {name: why for each in own for name, why in read_json(each.path / CRASHES).items()}
    clean = [name for name, entry in folder.shards().items() if entry["condition"] == CLEAN.name] if found else []
    for name in clean:
        table = read_shard(folder.path, name, ["sample_id", "error"])
        for fine in table.filter(table["error"].is_null())["sample_id"]:
            found.pop(fine, None)
    if found and not (folder.has(CRASHES) and read_json(folder.path / CRASHES) == found):
        folder.write_json(CRASHES, found)


class _Adopted(NamedTuple):
    """How many shards came of a part, how many were there, and what is wrong with others, a sentence each."""

    added: int
    there: int
    faults: tuple[str, ...]


def _brought(part: Path, *, clean: bool) -> dict[str, Mapping[str, Any]]:
    """The shards that a part has, the clean ones or the others."""
    return {name: entry for name, entry in RunWriter(part).shards().items() if is_clean(entry) == clean}


def _adopt_late(
    folder: RunWriter, part: Path, planned: Mapping[str, int], have: dict[str, Mapping[str, Any]], frozen: str
) -> _Adopted:
    """Take over the shards of a part that were measured after a freeze, which must be that of the folder."""
    late = _brought(part, clean=False)
    after = read_json(part / PART)["frozen"] if RunWriter(part).has(PART) else None
    if late and is_run(part):
        raise RunError(f"{part} is a run, and no part of one. Name folders that `demur audit … --shard i/N` wrote.")
    if late and after is None:
        raise RunError(
            f"{part} does not say after which freeze its shards were measured: {PART} was lost. Run this part again "
            f"into the same folder, and it measures them anew: demur audit … --shard i/N --frozen {folder.path} --out "
            f"{part}"
        )
    if late and after != frozen:
        raise RunError(
            f"{part} holds shards that were measured after another freeze than that of {folder.path}. Measure them "
            f"with --frozen {folder.path}, into another folder."
        )
    return _adopt(folder, part, late, planned, have)


def _adopt(
    folder: RunWriter,
    part: Path,
    entries: Mapping[str, Mapping[str, Any]],
    planned: Mapping[str, int],
    have: dict[str, Mapping[str, Any]],
) -> _Adopted:
    """Take over shards of a part whose rows are sound."""
    contract = RowContract.of(read_json(folder.path / METADATA))
    own = {name: entry for name, entry in entries.items() if planned.get(name) == entry["rows"]}
    faults = {name: contract.fault(part, entry) for name, entry in own.items() if name not in have}
    new = {name: own[name] for name, why in faults.items() if why is None}
    for name, entry in new.items():
        contents = {file: fetched(part / file).read_bytes() for file, _ in seal.shard_files(entry)}
        if any(seal.sha256_of(contents[file]) != sha256 for file, sha256 in seal.shard_files(entry)):
            raise seal.changed(part, f"records/{name}.parquet")
        folder.adopt(entry, contents)
        have[name] = entry
    same = [name for name, entry in entries.items() if name in have and have[name]["sha256"] == entry["sha256"]]
    folder.adopt_lines(part, same)  # of a call that was killed before it came to them, too
    return _Adopted(
        len(new),
        len(entries) - len(faults),
        tuple(
            f"{shard_words(part, name, why)}. Run that part again, by the same command: it measures the shard anew."
            for name, why in faults.items()
            if why is not None
        ),
    )
