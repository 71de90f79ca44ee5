"""A run folder: one writer at a time, shards that are whole or absent, a log of what happened."""

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from demur import seal
from demur.errors import DemurError, InputError, RunError
from demur.files import json_bytes, locked, read_json, write_json
from demur.foreign import fault, foreign_error, is_foreign, reason, traceback_of
from demur.pipeline.plan.plan_file import Plan
from demur.records import PART, write_parts, write_shard

_ROOMS = ("records", "parts", "facts", "fitted", "thumbs", "timings", "tables", "opened")
_SHEETS = "facts/pictures.json"
_PICTURED = ("facts/gallery.json", "facts/suspects.json", "facts/corruptions.json", "facts/overlays.json", _SHEETS)
_KEPT = ("plan.toml", "run.json")


@dataclass(frozen=True)
class RunWriter:
    """Where a run lives; everything in it can be read while it is written.

    Attributes:
        path: the folder.
        harmed: files that were changed since they were written, found when the folder was opened.
    """

    path: Path
    harmed: tuple[str, ...] = ()

    def shards(self) -> dict[str, Mapping[str, Any]]:
        """What the manifest holds and the disk confirms: a shard whose bytes changed is measured again."""
        try:
            entries = read_json(self.path / seal.MANIFEST)
        except RunError:  # none yet, or one that was cut: then every shard is measured again
            return {}
        known = [entry for entry in entries if _is_whole(entry)] if isinstance(entries, list) else []
        return {entry["shard"]: entry for entry in known if self._intact(entry)}

    def _intact(self, entry: Mapping[str, Any]) -> bool:
        return all(seal.file_sha256(self.path / name) == sha256 for name, sha256 in seal.shard_files(entry))

    def add(self, done: dict[str, Mapping[str, Any]], name: str, condition: str, table: pl.DataFrame) -> None:
        """Write the parts of its scores, then a shard, then the manifest that names it."""
        parts = [column for column in table.columns if column.startswith(PART)]
        entry = {"shard": name, "condition": condition, "rows": table.height}
        if parts:
            entry["parts"] = write_parts(self.path, name, table.select("sample_id", *parts))
        entry["sha256"] = write_shard(self.path, name, table.drop(parts))
        done[name] = {**entry, "check": entry_check(entry)}
        write_json(self.path / seal.MANIFEST, [done[key] for key in sorted(done)])

    def has(self, name: str) -> bool:
        """Whether a file is there as this run wrote it; one that is not sealed is from elsewhere, or half a step."""
        return seal.is_intact(self.path, name)

    def write(self, contents: Mapping[str, bytes]) -> None:
        """Write files, and vouch for them."""
        seal.write_sealed(self.path, contents)

    def write_json(self, name: str, content: Any) -> None:
        """Write a file of JSON, and vouch for it."""
        self.write({name: json_bytes(content)})

    def is_finished(self, planned: Iterable[str]) -> bool:
        """Whether nothing is left to do: every planned shard and every file is there as it was written."""
        return not self.harmed and self.has(seal.MANIFEST) and set(planned) <= set(self.shards())

    def reopen(self, missing: Iterable[str]) -> None:
        """Vouch no more for what follows from shards that are still to be measured."""
        sealed = seal.read_seal(self.path) or {}
        gone = [name for name in sealed if name == seal.MANIFEST or seal.is_derived(name)]
        missing = list(missing)
        fitted = ["facts/policies.json", *_PICTURED] if any(name.startswith("c000-") for name in missing) else []
        seal.unseal(self.path, [*gone, *fitted, *([_SHEETS] if missing else [])])

    def finish(self) -> None:
        """Vouch for the manifest, and so for every shard: from now on the run can be read."""
        seal.seal_file(self.path, seal.MANIFEST)

    def log(self, event: str, **facts: Any) -> None:
        """Append one line to log.jsonl."""
        file = self.path / "log.jsonl"
        line = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "event": event, **facts}
        before = file.read_bytes() if file.is_file() else b""
        whole = f"{json.dumps(seal.checked_line(line), sort_keys=True)}\n"
        seal.replace_sealed(self.path, file.name, before + whole.encode())

    def time(self, name: str, seconds: float) -> None:
        """Note how long something took, outside every identity guarantee."""
        write_json(self.path / "timings" / f"{name}.json", {"seconds": round(seconds, 3)})


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


def entry_check(entry: Mapping[str, Any]) -> str:
    """What an entry of a manifest says of itself, so that one that was changed is known before the run is finished."""
    text = json.dumps({key: value for key, value in entry.items() if key != "check"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_whole(entry: Any) -> bool:
    """Whether an entry of a manifest is as it was written; those of earlier versions have no check."""
    if not isinstance(entry, dict) or not {"shard", "condition", "rows", "sha256"} <= set(entry):
        return False
    return "check" not in entry or entry["check"] == entry_check(entry)


@contextmanager
def open_run(path: Path, plan: Plan) -> Iterator[RunWriter]:
    """The folder of a plan, locked; made if it is not there.

    Raises:
        InputError: the folder cannot be written.
        RunError: another process writes into it, or it belongs to another plan or a training.
    """
    with locked(path):
        seal.refuse_foreign(path, "plan.toml")
        _sweep(path)
        seal.begin(path)
        harmed = _mended(path)
        _claim(path, plan)
        yield RunWriter(path, harmed)


def _mended(path: Path) -> tuple[str, ...]:
    """The files that were changed since they were written; what they hold will be measured again.

    Journals keep their whole lines. The plan and `run.json` stay sealed: only what they held may take their place.
    """
    found = [name for name in seal.harmed(path) if not seal.is_derived(name)]
    for name in set(found) & set(seal.JOURNALS):
        lines = "".join(f"{line}\n" for line in seal.whole_lines(path / name))
        seal.write_sealed(path, {name: lines.encode()})
    pictures = _PICTURED if any(name in _PICTURED or name.startswith("thumbs/") for name in found) else ()
    if found:
        sealed = seal.read_seal(path) or {}
        derived = [name for name in sealed if seal.is_derived(name)]
        again = [name for name in found if name not in {*seal.JOURNALS, *_KEPT}]
        seal.unseal(path, [*again, *pictures, *derived, seal.MANIFEST])
    return tuple(found)


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
    if not any((path / name).exists() for name in (seal.MANIFEST, *_RESULTS)):
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


_OWN = ("run.json", "manifest.json", "plan.toml", "seal.json", *seal.JOURNALS)
