"""The seal of a run folder: hashes of the files a reader goes by, so that one that was changed is named.

`seal.json` holds, by name, the hashes that a file may have: one, or two while it is being replaced. It is written after
what it vouches for, so that a file a killed writer left is measured again. `manifest.json`, which has the hashes of
records and parts, enters it last: a run without it there is not finished. What is worked out of the others
(`is_derived`) is sealed too, and drops out as soon as anything it follows from is measured again.

Lines of journals have a `check` of their own, so that whole lines outlive a damaged file.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

from demur.errors import RunError
from demur.files import fetched, read_json, write_atomically, write_json

FILE = "seal.json"
MANIFEST = "manifest.json"
JOURNALS = ("log.jsonl", "opened.jsonl")

Seal: TypeAlias = Mapping[str, list[str]]

AGGREGATES = "aggregates/"
"""What was counted of the records, which stands until these change."""

_UNREAD = "fitted/"
"""What is sealed for whoever goes on with a run or makes a guard of it; a report stands without."""

_DERIVED = frozenset({"results.json", "report.html", "junit.xml", "summary.md"})
_DERIVED_ROOMS = ("tables/", "figures/", AGGREGATES)


_OWNERS: Mapping[str, str] = {
    "plan.toml": "an audit",
    "training.json": "a training",
    "attack.json": "an export of attacks",
}
"""The first file of a folder, and whose it then is."""


def refuse_foreign(path: Path, own: str) -> None:
    """Refuse a folder that belongs to another kind of work than the one whose first file is `own`.

    Raises:
        RunError: the two would mix their files.
    """
    for file, owner in _OWNERS.items():
        if file != own and (path / file).exists():
            raise RunError(
                f"{path} belongs to {owner} (it has {file}), and {_OWNERS[own]} would mix its files with those. Choose "
                "another folder with --out."
            )


def is_derived(name: str) -> bool:
    """Whether a file is worked out of the others, and written anew by each report."""
    return name in _DERIVED or name.startswith(_DERIVED_ROOMS)


def begin(run: Path) -> None:
    """Give a folder a seal, an empty one where its own cannot be read or is another's."""
    mend(run)
    found = read_seal(run)
    if found is None or _is_foreign(run, found):
        _write(run, {})


def mend(run: Path) -> bool:
    """Put an empty seal in the place of one that cannot be read, which vouches for nothing; whether there was one."""
    try:
        read_seal(run)
    except RunError:
        _write(run, {})
        return True
    return False


def _is_foreign(run: Path, found: Seal) -> bool:
    """Whether a seal fits neither the plan of a folder nor what it says of its model: then it is of another run."""
    own = ("plan.toml", "run.json")
    return all(name in found and (run / name).exists() and file_sha256(run / name) not in found[name] for name in own)


def read_seal(run: Path) -> Seal | None:
    """The hashes each file may have, None of a folder that has no seal.

    Raises:
        RunError: the seal itself was changed.
    """
    path = run / FILE
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_bytes())
        files = found["files"]
        if found["sha256"] == _files_sha256(files) and all(map(_is_entry, files.values())):
            return files
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass
    raise changed(run, FILE)


def _is_entry(hashes: object) -> bool:
    return isinstance(hashes, list) and all(isinstance(each, str) for each in hashes)


def _files_sha256(files: Any) -> str:
    return sha256_of(json.dumps(files, sort_keys=True).encode())


def _write(run: Path, files: Seal) -> None:
    write_json(run / FILE, {"files": files, "sha256": _files_sha256(files)})


def sha256_of(content: bytes) -> str:
    """The hash that seals and manifests go by."""
    return hashlib.sha256(content).hexdigest()


def file_sha256(path: Path) -> str | None:
    """The hash of a file, None where there is none."""
    try:
        with fetched(path).open("rb") as file:
            return hashlib.file_digest(file, hashlib.sha256).hexdigest()
    except OSError:
        return None


def is_intact(run: Path, name: str) -> bool:
    """Whether a file is sealed and as it was written."""
    return file_sha256(run / name) in ((read_seal(run) or {}).get(name) or ())


def harmed(run: Path) -> list[str]:
    """Every sealed file that is gone or was changed."""
    return [name for name, hashes in (read_seal(run) or {}).items() if file_sha256(run / name) not in hashes]


def write_sealed(run: Path, contents: Mapping[str, bytes]) -> None:
    """Write files and then their hashes; in a folder without a seal only the files."""
    with _turn(run):
        for name, content in contents.items():
            write_atomically(run / name, content)
        _update(run, {name: [sha256_of(content)] for name, content in contents.items()})


def seal_file(run: Path, name: str) -> None:
    """Vouch for a file as it is."""
    with _turn(run):
        _update(run, {name: [sha256_of((run / name).read_bytes())]})


def replace_sealed(run: Path, name: str, content: bytes) -> None:
    """Replace a file that must not be lost: at any moment the seal fits it, before or after."""
    with _turn(run):
        found, new = read_seal(run) or {}, sha256_of(content)
        if file_sha256(run / name) in found.get(name, ()):
            _update(run, {name: [*found[name], new]})
        write_atomically(run / name, content)
        _update(run, {name: [new]})


def unseal(run: Path, names: Iterable[str]) -> None:
    """Vouch for some files no more."""
    gone = set(names)
    with _turn(run):
        found = read_seal(run)
        if found is not None and gone & set(found):
            _write(run, {name: hashes for name, hashes in found.items() if name not in gone})


def _update(run: Path, entries: Seal) -> None:
    found = read_seal(run)
    if found is not None:
        _write(run, {**found, **entries})


def sweep(run: Path) -> None:
    """Remove what a killed report left half written; nothing where another process could be writing it just now."""
    with _turn(run) as alone:
        names = [(run, name) for name in _DERIVED] + [(run / room, "*") for room in _DERIVED_ROOMS]
        for place, name in names if alone else ():
            for left in place.glob(f".{name}.????????"):
                left.unlink(missing_ok=True)


@contextmanager
def _turn(run: Path) -> Iterator[bool]:
    """One process at a time changes a seal: a report may be written while an audit runs.

    Whether no other one does; some network file systems lock no folders.
    """
    folder = os.open(run, os.O_RDONLY)
    alone = False
    try:
        with suppress(OSError):
            fcntl.flock(folder, fcntl.LOCK_EX)
            alone = True
        yield alone
    finally:
        os.close(folder)


def verify(run: Path) -> Seal | None:
    """Compare every file that a reader goes by with its hash; the seal, None of an earlier version's folder.

    Raises:
        RunError: a file was changed, is gone, or stands in another's place; it is named.
    """
    found = read_seal(run)
    if _has_promised(run) if found is None else _is_foreign(run, found):
        raise changed(run, FILE)
    for name, hashes in (found or {}).items():
        if not is_derived(name) and not name.startswith(_UNREAD) and file_sha256(run / name) not in hashes:
            raise changed(run, name)
    return found


def _has_promised(run: Path) -> bool:
    """Whether a folder says that it has a seal."""
    facts = read_json(run / "run.json")
    return isinstance(facts, dict) and bool(facts.get("sealed"))


def verify_shards(run: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """Compare every shard of a manifest, and its parts, with their hashes.

    Raises:
        RunError: a file was changed, is gone, or stands in another's place; it is named.
    """
    for entry in entries:
        for name, sha256 in shard_files(entry):
            if file_sha256(run / name) != sha256:
                raise changed(run, name)


def shard_files(entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The files of a shard and their hashes, by its entry in the manifest."""
    yield f"records/{entry['shard']}.parquet", entry["sha256"]
    if entry.get("parts"):
        yield f"parts/{entry['shard']}.parquet", entry["parts"]


def changed(run: Path, name: str) -> RunError:
    """The error for a file that is not what was written."""
    what = "is not the file that was written (its hash differs)" if (run / name).exists() else "is gone"
    if is_derived(name):
        return RunError(f"{run / name} {what}. Write it anew: demur report {run}.")
    return RunError(
        f"{run / name} {what}, so nothing in {run} can be told as measured. Run the same audit again: it "
        "measures what was changed anew. Or bring the file back."
    )
