"""A run folder: one writer at a time, shards that are whole or absent, a log of what happened."""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from demur.errors import DemurError, InputError, RunError
from demur.foreign import fault, foreign_error, is_foreign, reason, traceback_of
from demur.pipeline.plan.plan_file import Plan
from demur.records import (
    PART,
    append_line,
    locked,
    read_json,
    refuse_foreign,
    write_atomically,
    write_json,
    write_parts,
    write_shard,
)

_ROOMS = ("records", "parts", "facts", "fitted", "thumbs", "timings")


@dataclass(frozen=True)
class RunWriter:
    """Where a run lives; everything in it can be read while it is written."""

    path: Path

    def shards(self) -> dict[str, Mapping[str, Any]]:
        """What the manifest holds and the disk confirms: a shard whose bytes changed is measured again."""
        manifest = self.path / "manifest.json"
        if not manifest.exists():
            return {}
        entries = {entry["shard"]: entry for entry in read_json(manifest)}
        return {name: entry for name, entry in entries.items() if self._intact(name, entry["sha256"])}

    def _intact(self, name: str, sha256: str) -> bool:
        path = self.path / "records" / f"{name}.parquet"
        return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256

    def add(self, done: dict[str, Mapping[str, Any]], name: str, condition: str, table: pl.DataFrame) -> None:
        """Write the parts of its scores, then a shard, then the manifest that names it."""
        parts = [column for column in table.columns if column.startswith(PART)]
        if parts:
            write_parts(self.path, name, table.select("sample_id", *parts))
        sha256 = write_shard(self.path, name, table.drop(parts))
        done[name] = {"shard": name, "condition": condition, "rows": table.height, "sha256": sha256}
        write_json(self.path / "manifest.json", [done[key] for key in sorted(done)])

    def log(self, event: str, **facts: Any) -> None:
        """Append one line to log.jsonl."""
        line = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "event": event, **facts}
        append_line(self.path / "log.jsonl", json.dumps(line, sort_keys=True))

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


@contextmanager
def open_run(path: Path, plan: Plan) -> Iterator[RunWriter]:
    """The folder of a plan, locked; made if it is not there.

    Raises:
        InputError: the folder cannot be written.
        RunError: another process writes into it, or it belongs to another plan or a training.
    """
    with locked(path):
        refuse_foreign(path, "plan.toml")
        _claim(path, plan)
        _sweep(path)
        yield RunWriter(path)


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
    """A folder belongs to the first plan by which something was measured in it; one that was refused leaves it free."""
    file = path / "plan.toml"
    if not (file.exists() and (path / "manifest.json").exists()):
        write_atomically(file, plan.toml().encode())
        return
    before, now = file.read_text("utf-8").splitlines(), plan.toml().splitlines()
    if before != now:
        changed = sorted(set(now) ^ set(before))
        raise RunError(
            f"{path} belongs to another plan; these lines differ: {'; '.join(changed[:6])}. "
            "Choose another folder with --out."
        )


def _sweep(path: Path) -> None:
    """Remove what a killed writer left half written; the lock says that nobody else is writing records now."""
    for place, names in (("", ("run.json", "manifest.json", "plan.toml")), *((room, ("*",)) for room in _ROOMS)):
        for name in names:
            for left in (path / place).glob(f".{name}.????????"):
                left.unlink(missing_ok=True)
