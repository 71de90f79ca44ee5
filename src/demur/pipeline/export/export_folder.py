"""The folder of an export: one writer at a time, one request for good, files that are whole or absent."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demur.errors import RunError
from demur.files import locked, read_json, write_atomically, write_json
from demur.pipeline.plan.conditions import eps_words
from demur.seal import refuse_foreign

NOTE = "attack.json"
PARTS = "parts"

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class ExportFolder:
    """Where an export lives; its note says the request, what is finished and what was found."""

    path: Path

    def note(self) -> dict[str, Any]:
        """Everything that is known so far."""
        return read_json(self.path / NOTE)

    def finished(self, model: int, attack: str) -> Entry | None:
        """What was found of an attack on a model before, if its files still have the bytes that were written."""
        for entry in self.note()["exports"]:
            if (entry["model"], entry["attack"]) == (model, attack):
                return entry if all(self._intact(**file) for file in entry["files"].values()) else None
        return None

    def add(self, entry: Entry) -> None:
        """Note that an attack on a model is finished, and how far points carry is to be measured again."""
        note = self.note()
        attacks = note["request"]["attacks"]
        others = [one for one in note["exports"] if (one["model"], one["attack"]) != (entry["model"], entry["attack"])]
        ranked = sorted([*others, entry], key=lambda one: (one["model"], attacks.index(one["attack"])))
        write_json(self.path / NOTE, note | {"exports": ranked, "finished": False})

    def close(self, transfer: list[Mapping[str, Any]]) -> None:
        """Note how far points carry, and that everything is done."""
        write_json(self.path / NOTE, self.note() | {"transfer": transfer, "finished": True})

    def write(self, name: str, content: bytes) -> dict[str, str]:
        """Write a file, atomically; where it lies and the hash of its bytes."""
        write_atomically(self.path / name, content)
        return {"file": name, "sha256": hashlib.sha256(content).hexdigest()}

    def _intact(self, file: str, sha256: str) -> bool:
        path = self.path / file
        return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


@contextmanager
def open_export(path: Path, request: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[ExportFolder]:
    """The folder of a request, locked; made if it is not there. `facts` may change without being another request.

    Raises:
        InputError: the folder cannot be written.
        RunError: another process writes into it, or it belongs to another request, an audit or a training.
    """
    with locked(path):
        refuse_foreign(path, NOTE)
        before = (
            read_json(path / NOTE) if (path / NOTE).exists() else {"exports": [], "transfer": [], "finished": False}
        )
        _check_same(path, before.get("request", request), request)
        write_json(path / NOTE, {**before, **facts, "request": dict(request)})
        for left in path.rglob(".*.????????"):
            left.unlink(missing_ok=True)
        yield ExportFolder(path)


def _check_same(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    changed = [f"{key}: {before.get(key)} before, {now[key]} now" for key in now if before.get(key) != now[key]]
    if changed:
        raise RunError(
            f"{path} belongs to another run of attacks ({'; '.join(changed)}). Choose another folder with --out."
        )


_LONGEST = 80


def file_slug(text: str) -> str:
    """A file name for a name; small sizes are written as people say them.

    >>> file_slug("pgd(eps=0.0078431373, steps=20)")
    'pgd-eps-2_255-steps-20'
    """
    spoken = re.sub(r"\b0\.0\d{3,}", lambda size: _spoken(size[0]), text.lower())
    return re.sub(r"[^a-z0-9._]+", "-", spoken).strip("-.")[:_LONGEST] or "model"


def _spoken(number: str) -> str:
    said = eps_words(float(number))
    return said.replace("/", "_") if said.endswith("/255") else number


def unique(names: Sequence[str]) -> tuple[str, ...]:
    """The same names, a number added to those that were there before.

    >>> unique(["resnet20", "resnet56", "resnet20"])
    ('resnet20', 'resnet56', 'resnet20-2')
    """
    found: list[str] = []
    for name in names:
        number, free = 1, name
        while free in found:
            number += 1
            free = f"{name}-{number}"
        found.append(free)
    return tuple(found)
