"""The fitted signals that a run keeps, in `fitted/`, and what says where they are from.

`origin.json` has the hash of the file that names the others, by hash as well, and what the signals follow from. It is
sealed, so that a folder that lost its signals is told from one whose signals no file can hold.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from demur import seal
from demur.errors import InputError, RunError
from demur.files import json_bytes, json_lines, read_json
from demur.pipeline.job import Job
from demur.signals import Fittable, Signal
from demur.signals.store import FILE, load_signals, save_signals, stored_sha256

FOLDER = "fitted"
ORIGIN = f"{FOLDER}/origin.json"


FITS = "facts/signals.json"
"""What fitted signals tell of their fitting; written whenever they are fitted, once they are kept."""

UNKEPT = "fitted signals were not kept"
"""What the log of a run says where no file can hold its signals."""


def damaged_signals(run: Path) -> list[str]:
    """The files of the fitted signals of a run that are gone or were changed; none where none were kept."""
    sealed = seal.read_seal(run) or {}
    if not (run / ORIGIN).exists() and ORIGIN not in sealed:
        return [ORIGIN] if FITS in sealed and not _is_unkept(run) else []
    if ORIGIN not in sealed:  # whoever kept them was killed before it vouched for them: who reads them compares
        return []
    if not seal.is_intact(run, ORIGIN):
        return [ORIGIN]
    if seal.file_sha256(run / FOLDER / FILE) != read_json(run / ORIGIN)["sha256"]:
        return [f"{FOLDER}/{FILE}"]
    files: Mapping[str, str] = read_json(run / FOLDER / FILE)["files"]
    return [f"{FOLDER}/{name}" for name, sha256 in files.items() if seal.file_sha256(run / FOLDER / name) != sha256]


def _is_unkept(run: Path) -> bool:
    return any(event.get("event") == UNKEPT for event in json_lines(run / "log.jsonl"))


def keep_signals(job: Job, run: Path) -> None:
    """Write the fitted signals of a job into the folder of its run, and vouch for where they are from.

    Raises:
        InputError: a signal, such as one of a plug-in, holds what no file can.
    """
    try:
        sha256 = save_signals(run / FOLDER, job.fitted)
    except InputError:
        seal.unseal(run, [ORIGIN])
        raise
    seal.write_sealed(run, {ORIGIN: json_bytes({"sha256": sha256, **_origin(job)})})


def stored_signals(job: Job, run: Path) -> dict[str, Signal] | None:
    """The fitted signals of a job that its run keeps; None where it keeps none.

    Raises:
        RunError: they are of another model, other data or another plan, or a file of them was changed.
    """
    damaged, path = damaged_signals(run), run / FOLDER
    if damaged:
        raise seal.changed(run, damaged[0])
    if not (run / ORIGIN).exists():
        return None
    if read_json(run / ORIGIN) != {"sha256": stored_sha256(path), **_origin(job)}:
        raise RunError(
            f"{path} holds signals of another model, other data or another plan, by {ORIGIN}. Run the same audit "
            "again: it fits them anew."
        )
    found = load_signals(path)
    return {name: cast("Signal", found[name]) for name in _origin(job)["signals"]}


def _origin(job: Job) -> dict[str, Any]:
    """What fitted signals follow from: others must not be taken for them."""
    return {
        "model_sha256": job.classifier.sha256,
        "data_sha256": job.index.sha256,
        "plan_sha256": job.plan.sha256,
        "signals": [name for name, signal in job.signals.items() if isinstance(signal, Fittable)],
    }
