"""The list of a guard's files: an OpenSSF Model Signing statement, every file with its SHA-256.

`manifest.json` is the in-toto statement that the reference tool signs, without its own line; a signature made by that
tool covers it too. Hashes inside a folder find an accident. Someone who rewrites both a file and this list is found by
a signature or by the hash of the list, told elsewhere.

Specification: https://github.com/ossf/model-signing-spec, version 1.0.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from demur.errors import InputError, legible
from demur.files import json_bytes, write_atomically

FILE = "manifest.json"
SIGNATURE = "model.sig"
LEDGER = "looks.jsonl"
LEDGER_IDS = ".looks"

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://model_signing/signature/v1.0"

_CHANGED = "Bring it back, or fit the guard again."


def write_file_list(folder: Path) -> str:
    """List every file of a folder and return the hash of the list.

    Raises:
        InputError: it has a link or something else that is no file.
        RunError: the list cannot be written.
    """
    files = {file: _sha256(folder / file) for file in files_in(folder)}
    content = json_bytes(_statement(files))
    write_atomically(folder / FILE, content)
    return hashlib.sha256(content).hexdigest()


def _statement(files: Mapping[str, str]) -> dict[str, Any]:
    ordered = sorted(files.items())
    root = hashlib.sha256(b"".join(bytes.fromhex(sha256) for _, sha256 in ordered)).hexdigest()
    return {
        "_type": STATEMENT,
        "subject": [{"name": "demur guard", "digest": {"sha256": root}}],
        "predicateType": PREDICATE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": [FILE],
            },
            "resources": [{"name": file, "algorithm": "sha256", "digest": sha256} for file, sha256 in ordered],
        },
    }


def files_in(folder: Path) -> Iterator[str]:
    """The files that are listed, by their paths in the folder, in order; not the list, a signature, or the ledger.

    Raises:
        InputError: a link, a device or an empty folder, which no list vouches for.
    """
    for path in sorted(_walk(folder)):
        name = path.relative_to(folder).as_posix()
        if name not in {FILE, SIGNATURE, LEDGER} and not name.startswith(f"{LEDGER_IDS}/"):
            yield name


def _walk(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        inside = list(entries)
    if not inside and folder.name != LEDGER_IDS:
        raise InputError(f"{folder} is an empty folder, which the guard's list of files does not have. Remove it.")
    for entry in inside:
        path = Path(entry.path)
        if entry.is_symlink():
            raise InputError(f"{path} is a link, and a guard has none: what it leads to is not vouched for. Remove it.")
        if entry.is_dir():
            yield from _walk(path)
        elif entry.is_file():
            yield path
        else:
            raise InputError(f"{path} is no file. Remove it.")


def verify_files(folder: Path, sha256: str | None = None) -> str:
    """Compare every file of a guard with the list; the hash of the list.

    Raises:
        InputError: a file was changed, is gone or is not listed, or the list is not the one of that hash.
    """
    found = _list_sha256(folder)
    if sha256 is not None and sha256.strip().lower() != found:
        raise InputError(
            f"{folder / FILE} must have the SHA-256 {sha256.strip()}; it has {found}. This is another guard, or one "
            "that was rewritten: take the one whose hash you were told."
        )
    listed = _listed(folder)
    present = set(files_in(folder))
    for name, wanted in sorted(listed.items()):
        if name not in present:
            raise InputError(f"{folder / name} is gone. {_CHANGED}")
        if _sha256(folder / name) != wanted:
            raise InputError(f"{folder / name} is not the file that was written: its hash differs. {_CHANGED}")
    strangers = sorted(present - set(listed))
    if strangers:
        raise InputError(f"{folder / strangers[0]} is no file of this guard. Remove it.")
    return found


def _list_sha256(folder: Path) -> str:
    try:
        return hashlib.sha256((folder / FILE).read_bytes()).hexdigest()
    except (OSError, ValueError) as error:  # a name may have bytes that no name can have
        why = error.strerror if isinstance(error, OSError) else "no such name"
        raise InputError(
            f"{legible(str(folder))} is no guard: {FILE} cannot be read ({why}). Name the folder that "
            "`demur guard fit` wrote."
        ) from None


def _listed(folder: Path) -> dict[str, str]:
    """The files of the list; it must be exactly what `write_file_list` writes, so that no byte of it is free."""
    path = folder / FILE
    content = path.read_bytes()
    try:
        statement = json.loads(content)
        listed = {str(each["name"]): str(each["digest"]) for each in statement["predicate"]["resources"]}
        if json_bytes(_statement(listed)) == content:
            return listed
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass
    raise InputError(f"{path} is not a list of files that demur wrote, or was changed. {_CHANGED}")


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, hashlib.sha256).hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}). Correct its rights.") from None
