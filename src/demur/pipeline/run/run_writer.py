"""A run folder: one writer at a time, shards that are whole or absent, a log of what happened."""

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from demur import seal
from demur.errors import DemurError, InputError, RunError
from demur.files import (
    JOURNAL,
    append_line,
    checked_line,
    json_bytes,
    json_lines,
    locked,
    read_json,
    remove,
    whole_lines,
    write_atomically,
    write_json,
)
from demur.foreign import fault, foreign_error, is_foreign, reason, traceback_of
from demur.pipeline.plan.plan_file import Plan
from demur.pipeline.run.flight import Flight
from demur.pipeline.run.mending import (
    FIXED,
    LATE_POLICIES,
    PICTURED,
    SHEETS,
    is_there,
    mend_files,
    mend_journal,
    mend_manifest,
    of_policies,
)
from demur.pipeline.run.placed_shard import PlacedShard
from demur.pipeline.run.planned import Planned
from demur.pipeline.run.run_times import RunTimes, Start
from demur.records import EncodedShard, is_entry, manifest_entries

_ROOMS = ("records", "parts", "facts", "fitted", "thumbs", "timings", "tables", "opened")


@dataclass(frozen=True)
class RunWriter:
    """Where a run lives; everything in it can be read while it is written.

    Attributes:
        path: the folder.
        harmed: files that were changed since they were written, found when the folder was opened.
        flight: where it is kept what is being measured; None where nobody needs to know.
        start: of the run, by whoever writes.
    """

    path: Path
    harmed: tuple[str, ...] = ()
    flight: Flight | None = field(default=None, compare=False)
    start: Start = field(default_factory=Start.now, compare=False)

    def shards(self) -> dict[str, Mapping[str, Any]]:
        """What the manifest holds and the disk confirms: a shard whose bytes changed is measured again."""
        try:
            entries = read_json(self.path / seal.MANIFEST)
        except RunError:  # none yet, or one that was cut: then its shards are measured again
            entries = []
        listed = [*manifest_entries(entries), *map(json.loads, whole_lines(self._journal))]
        return {entry["shard"]: entry for entry in listed if is_entry(entry) and is_there(self.path, entry)}

    @property
    def _journal(self) -> Path:
        return self.path / JOURNAL

    def add(self, name: str, condition: str, shard: EncodedShard | PlacedShard) -> None:
        """Write the parts of its scores, then a shard, then the line that names it: what is there already stays."""
        if not (self.path / seal.MANIFEST).exists():
            write_json(self.path / seal.MANIFEST, [])
        entry = {"shard": name, "condition": condition, "rows": shard.rows, **shard.write(self.path, name)}
        append_line(self._journal, json.dumps(checked_line(entry), sort_keys=True))

    def adopt(self, entry: Mapping[str, Any], contents: Mapping[str, bytes]) -> None:
        """Write the files of a shard that was measured into another folder, then the line that names it."""
        if not (self.path / seal.MANIFEST).exists():
            write_json(self.path / seal.MANIFEST, [])
        for name, content in sorted(contents.items()):  # its parts, then its records
            write_atomically(self.path / name, content)
        append_line(self._journal, json.dumps(entry, sort_keys=True))

    def forget(self, names: Iterable[str]) -> None:
        """List some shards no more, so that they are measured again."""
        gone = set(names)
        seal.unseal(self.path, [seal.MANIFEST])
        write_json(self.path / seal.MANIFEST, [each for name, each in self.shards().items() if name not in gone])
        self.end_journal()

    def adopt_lines(self, part: Path, names: Iterable[str]) -> None:
        """Take over what another folder notes, if it is not there yet: how long it took, what failed of some shards."""
        told = set(names)
        self.times.adopt(part, told)
        keys = ("event", "what", "why", "rows")
        known = [[event.get(key) for key in keys] for event in json_lines(self.path / "log.jsonl")]
        for event in map(json.loads, whole_lines(part / "log.jsonl")):
            found = [event.get(key) for key in keys]
            if event.get("what") in told and None not in found and found not in known:
                self.log(**dict(zip(keys, found, strict=True)))

    def has(self, name: str) -> bool:
        """Whether a file is there as this run wrote it; one that is not sealed is from elsewhere, or half a step."""
        return seal.is_intact(self.path, name)

    def write(self, contents: Mapping[str, bytes]) -> None:
        """Write files, and vouch for them."""
        seal.write_sealed(self.path, contents)

    def write_json(self, name: str, content: Any) -> None:
        """Write a file of JSON, and vouch for it."""
        self.write({name: json_bytes(content)})

    def intact(self, planned: Mapping[str, Planned]) -> frozenset[str]:
        """Those of the planned shards that are there as they were written, of the images and the condition planned."""
        return frozenset(
            name
            for name, entry in self.shards().items()
            if name in planned and planned[name].is_in(self.path, name, entry["condition"], entry["rows"])
        )

    def is_finished(self, planned: Mapping[str, Planned]) -> bool:
        """Whether nothing is left to do: every planned shard and every file is there as it was written."""
        whole = not self.harmed and all(map(self.has, (*FIXED, seal.MANIFEST)))
        return whole and self.intact(planned) == set(planned)

    def reopen(self, missing: Iterable[str]) -> None:
        """Vouch no more for what follows from shards that are still to be measured."""
        sealed = seal.read_seal(self.path) or {}
        gone = [name for name in sealed if name == seal.MANIFEST or seal.is_derived(name)]
        missing = list(missing)
        first = any(name.startswith("c000-") for name in missing)
        fitted = [*FIXED, *of_policies(sealed), *PICTURED] if first else []
        seal.unseal(self.path, [*gone, *fitted, *([SHEETS, LATE_POLICIES] if missing else [])])

    def finish(self) -> None:
        """Write the manifest and vouch for it, and so for every shard: from now on the run can be read."""
        done = self.shards()
        write_json(self.path / seal.MANIFEST, [done[name] for name in sorted(done)])
        seal.seal_file(self.path, seal.MANIFEST)
        self.end_journal()

    def end_journal(self) -> None:
        """Remove the journal of a run that is finished: the manifest has its lines."""
        if self._journal.exists():
            remove(self._journal)

    def log(self, event: str, **facts: Any) -> None:
        """Append one line to log.jsonl."""
        file = self.path / "log.jsonl"
        line = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "event": event, **facts}
        before = file.read_bytes() if file.is_file() else b""
        whole = f"{json.dumps(checked_line(line), sort_keys=True)}\n"
        seal.replace_sealed(self.path, file.name, before + whole.encode())

    @property
    def is_careful(self) -> bool:
        """Whether shards are measured in other processes only, and first."""
        return self.flight is not None and self.flight.careful

    @contextmanager
    def at(self, what: str) -> Iterator[None]:
        """Inside, the next process could tell what this one died at."""
        with nullcontext() if self.flight is None else self.flight.at(what):
            yield

    @property
    def times(self) -> RunTimes:
        """Where it is noted how long everything takes, outside every identity guarantee."""
        return RunTimes(self.path, self.start)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Note how long what is done inside takes this process, and that it is at it."""
        with self.times.of(name), self.at(name):
            yield


def try_folder(path: Path) -> None:
    """Write into a folder, now rather than after an hour; what this makes it takes away.

    Raises:
        InputError: it cannot be made or written.
    """
    missing = [each for each in (path, *path.parents) if not each.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(b"demur")
            file.flush()
        for each in missing:
            each.rmdir()
    except OSError as error:
        raise InputError(
            f"cannot write the folder {path}: {error.strerror or error}. Choose another with --out DIR."
        ) from None


@contextmanager
def open_run(path: Path, plan: Plan) -> Iterator[RunWriter]:
    """The folder of a plan, locked; made if it is not there.

    Raises:
        InputError: the folder cannot be written.
        RunError: another process writes into it, or it belongs to another plan or a training.
    """
    with locked(path):
        yield folder_of(path, plan)


def folder_of(path: Path, plan: Plan, flight: Flight | None = None, start: Start | None = None) -> RunWriter:
    """The folder of a plan, which is locked already, for a start that began before or begins now.

    Raises:
        RunError: it belongs to another plan or a training.
    """
    seal.refuse_foreign(path, "plan.toml")
    _sweep(path)
    mend_journal(path / JOURNAL)
    seal.begin(path)
    harmed = mend_files(path)
    mend_manifest(path)
    _claim(path, plan)
    return RunWriter(path, harmed, flight, start or Start.now())


@contextmanager
def fault_log(folder: RunWriter) -> Iterator[None]:
    """A fault that nobody foresaw is told in a paragraph, and its traceback kept in `log.jsonl`.

    Raises:
        ForeignError: code of a model, a data set or a plug-in failed.
        FaultError: demur itself did.
    """
    try:
        yield
    except (DemurError, KeyboardInterrupt):
        raise
    except BaseException as error:
        folder.log("fault", what=reason(error), traceback=traceback_of(error))
        if is_foreign(error):
            raise foreign_error(error) from error
        if isinstance(error, OSError):  # of the disk: what is told of it says the file
            raise
        raise fault(error, folder.path / "log.jsonl") from error


def _claim(path: Path, plan: Plan) -> None:
    """A folder belongs to the first plan by which something was measured in it; one that was refused leaves it free.

    Raises:
        RunError: it belongs to another plan.
    """
    file, content = path / "plan.toml", plan.toml().encode()
    known = (seal.read_seal(path) or {}).get(file.name)
    if not any((path / name).exists() for name in (seal.MANIFEST, JOURNAL, *_RESULTS)):
        stale = [] if known == [seal.sha256_of(content)] else list(seal.read_seal(path) or ())
        seal.unseal(path, [name for name in stale if name not in seal.JOURNALS])
    elif known is None and file.exists():
        _check_same(path, file.read_bytes(), content)
    elif known is not None and known != [seal.sha256_of(content)]:
        _check_same(path, file.read_bytes() if seal.is_intact(path, file.name) else b"", content)
    if not seal.is_intact(path, file.name):
        seal.write_sealed(path, {file.name: content})


_RESULTS = ("results.json", "report.html")


def _check_same(path: Path, before: bytes, now: bytes) -> None:
    lines, own = before.decode("utf-8", "replace").splitlines(), now.decode().splitlines()
    if lines == own:
        return
    changed = sorted(set(own) ^ set(lines)) if lines else ["its plan.toml was changed since"]
    raise RunError(
        f"{path} belongs to another plan; these lines differ: {'; '.join(changed[:6])}. "
        "Choose another folder with --out."
    )


def _sweep(path: Path) -> None:
    """Remove what a killed writer left half written; the lock says that nobody else is writing records now."""
    for place, names in (("", _OWN), *((room, ("*",)) for room in _ROOMS)):
        for name in names:
            for left in (path / place).glob(f".{name}.????????"):
                left.unlink(missing_ok=True)


_OWN = ("run.json", "manifest.json", JOURNAL, "plan.toml", "seal.json", *seal.JOURNALS)
