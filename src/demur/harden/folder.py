"""The folder of a training: one writer at a time, and one training for good."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from demur.errors import RunError
from demur.harden.checkpoints import Checkpoints
from demur.records import locked, read_json, refuse_foreign, write_json

NOTE = "training.json"
CHECKPOINT = "checkpoint"


@contextmanager
def open_folder(path: Path, task: Mapping[str, str], *, restart: bool) -> Iterator[Path]:
    """The folder of a task, locked; made if it is not there. With `restart`, an earlier task is given up.

    Raises:
        InputError: the folder cannot be written.
        RunError: another process trains into it, or it belongs to another training or an audit.
    """
    with locked(path):
        refuse_foreign(path, NOTE)
        if restart:
            Checkpoints(path / CHECKPOINT).forget()  # before the note changes: a kill in between must not mix the two
        else:
            _check_same(path, task)
        write_json(path / NOTE, dict(task))
        yield path


def _check_same(path: Path, task: Mapping[str, str]) -> None:
    if not (path / NOTE).exists():
        return
    before = read_json(path / NOTE)
    changed = [
        f"{key}: {before.get(key)} before, {value} now" for key, value in task.items() if before.get(key) != value
    ]
    if changed:
        raise RunError(
            f"{path} belongs to another training ({'; '.join(changed)}). Choose another folder with --out, or give up "
            "the earlier training with --restart."
        )
