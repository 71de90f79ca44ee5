"""The benchmark of a finished run: its model, data and signals, and the table kept in its folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demur import seal
from demur.errors import InputError, RunError
from demur.files import json_bytes, locked, read_json

BENCH = "timings/bench.json"


@dataclass(frozen=True)
class TimedRun:
    """What is timed where nothing else is named: what the audit measured."""

    path: Path
    model: str
    model_sha256: str
    data: str
    signals: tuple[str, ...]
    seed: int

    @classmethod
    def of(cls, path: Path) -> "TimedRun":
        """A run folder that is finished and as it was written.

        Raises:
            RunError: it is none, not finished, or was changed.
        """
        facts = read_json(path / "run.json")
        if seal.MANIFEST not in (seal.verify(path) or (seal.MANIFEST,)):
            raise RunError(f"{path} is not finished. Run the audit to its end, by the same command, and time it then.")
        signals = tuple(entry["name"] for entry in facts["signals"])
        return cls(path, facts["model"], facts["model_sha256"], facts["data"], signals, facts["seed"])

    def keep(self, found: Mapping[str, Any]) -> None:
        """Write the table into the folder; what was worked out before is so no more, and a report shows it.

        Raises:
            InputError: it is of another model.
            RunError: another process writes into the folder.
        """
        if found["model_sha256"] != self.model_sha256:
            raise InputError(
                f"{self.path} is of the model {self.model} ({self.model_sha256[:12]}…), and what was timed is another, "
                f"{found['model']} ({found['model_sha256'][:12]}…). Leave MODEL out, or leave --out out."
            )
        with locked(self.path):
            seal.write_sealed(self.path, {BENCH: json_bytes(found)})
            seal.unseal(self.path, [name for name in seal.read_seal(self.path) or () if seal.is_derived(name)])
