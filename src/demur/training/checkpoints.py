"""Where a training stands after each epoch, on disk, and the folder it is in."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from demur.errors import RunError
from demur.files import locked, read_json, write_atomically, write_json
from demur.seal import refuse_foreign
from demur.training.learner import Learner
from demur.training.learning_curve import EpochRow

Rows: TypeAlias = Sequence[EpochRow]
Past: TypeAlias = tuple[int, Rows]
"""Epochs that are over, and what is known of them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Moment:
    """Where a training stood after an epoch."""

    epochs: int
    rows: Rows
    tensors: Mapping[str, Tensor]
    score: float
    steps: int


def refill(moment: Moment | None, learner: Learner, dice: torch.Generator) -> Past:
    """Put everything back as it was; how many epochs that was after, and what the curve says of them."""
    if moment is None:
        return 0, ()
    learner.refill(moment.tensors, moment.score, moment.steps)
    dice.set_state(moment.tensors["dice"])
    torch.random.set_rng_state(moment.tensors["global"])
    return moment.epochs, moment.rows


class Forgetful:
    """No checkpoints."""

    def read(self) -> Moment | None:
        """Nothing was kept."""
        return None

    def keep(self, epochs: int, learner: Learner, dice: torch.Generator, rows: Rows) -> None:
        """Nothing is kept."""


@dataclass(frozen=True)
class Checkpoints:
    """The last whole epoch in a folder of its own: `checkpoint.json` names the file of tensors and its hash.

    The tensors are written first and the JSON is renamed into place, so a kill at any moment leaves one epoch or the
    next, never a part. Kept are the weights, what the optimizer remembers, both streams of random numbers, and the
    curve so far.
    """

    folder: Path

    def read(self) -> Moment | None:
        """What was kept last; None where nothing was. Checkpoints of versions that kept no curve have none.

        Raises:
            RunError: the tensors are missing or damaged.
        """
        from safetensors.torch import load

        note = self.folder / "checkpoint.json"
        if not note.exists():
            return None
        entry = read_json(note)
        return Moment(
            epochs=int(entry["epochs"]),
            rows=tuple(EpochRow.of(row) for row in entry.get("curve", ())),
            tensors=load(self._whole(entry["tensors"], entry["sha256"])),
            score=entry.get("score", -1.0),
            steps=entry.get("steps", 0),
        )

    def keep(self, epochs: int, learner: Learner, dice: torch.Generator, rows: Rows) -> None:
        """Replace what an earlier epoch kept."""
        from safetensors.torch import save

        tensors = {
            **learner.tensors(),
            "dice": dice.get_state(),
            "global": torch.random.get_rng_state(),
        }
        content = save({name: value.contiguous() for name, value in tensors.items()})
        name = f"epoch-{epochs:04d}.safetensors"
        write_atomically(self.folder / name, content)
        digest = hashlib.sha256(content).hexdigest()
        entry = {"epochs": epochs, "tensors": name, "sha256": digest, "score": learner.score, "steps": learner.steps}
        write_json(self.folder / "checkpoint.json", entry | {"curve": [asdict(row) for row in rows]})
        self._sweep({"checkpoint.json", name})

    def forget(self) -> None:
        """Remove what was kept, the note first."""
        (self.folder / "checkpoint.json").unlink(missing_ok=True)
        if self.folder.exists():
            self._sweep(set())

    def _sweep(self, kept: set[str]) -> None:
        """Remove the rest: older epochs, and what a kill left half written."""
        for path in self.folder.iterdir():
            if path.name not in kept:
                path.unlink()

    def _whole(self, name: str, sha256: str) -> bytes:
        path = self.folder / name
        content = path.read_bytes() if path.exists() else b""
        if hashlib.sha256(content).hexdigest() != sha256:
            raise RunError(
                f"the checkpoint {path} is {'damaged' if content else 'missing'}. Start over with --restart."
            )
        return content


NOTE = "training.json"
CHECKPOINT, TEACHER = "checkpoint", "teacher"


@contextmanager
def open_training(path: Path, task: Mapping[str, str], *, restart: bool) -> Iterator[Path]:
    """The folder of a task, locked; made if it is not there. With `restart`, an earlier task is given up.

    Raises:
        InputError: the folder cannot be written.
        RunError: another process trains into it, or it belongs to another training or an audit.
    """
    with locked(path):
        refuse_foreign(path, NOTE)
        if restart:
            for part in (CHECKPOINT, TEACHER):
                Checkpoints(path / part).forget()  # before the note changes: a kill in between must not mix the two
        else:
            _check_same(path, task)
        write_json(path / NOTE, dict(task))
        yield path


def _check_same(path: Path, task: Mapping[str, str]) -> None:
    if not (path / NOTE).exists():
        return
    before = read_json(path / NOTE)
    changed = [
        f"{key}: {before.get(key, '–')} before, {task.get(key, '–')} now"
        for key in {**task, **before}
        if before.get(key) != task.get(key)
    ]
    if changed:
        raise RunError(
            f"{path} belongs to another training ({'; '.join(changed)}). Choose another folder with --out, or give up "
            "the earlier training with --restart."
        )
