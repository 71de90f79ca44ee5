"""When the labels of the certify and test splits were opened, under which plan and gates, and how often.

An opening is one line of JSON in `opened.jsonl`: `at`, `split`, `by`, `run`, the hashes of data, model and plan, and
the gates. It is appended to the file beside the run folders, where all runs on the same images meet, and the lines
about these images are kept in the run folder too, so that the folder alone can tell.
"""

import json
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from demur.errors import RunError
from demur.records import append_line, read_json
from demur.seal import checked_line, is_whole, replace_sealed

FILE = "opened.jsonl"

Opening = Mapping[str, Any]


def note(run: Path, split: Literal["certify", "test"], by: str) -> list[Opening]:
    """Write down that a command opens the labels of a split; every opening that is now in the run folder, oldest first.

    Where the folder of the run folder cannot be written the line says so in `scope`, and only this run is counted.

    Raises:
        RunError: a file of openings is damaged.
    """
    facts, beside = read_json(run / "run.json"), run.resolve().parent / FILE
    line = {
        "at": datetime.now(UTC).isoformat(timespec="microseconds"),
        "split": split,
        "by": by,
        "run": run.resolve().name,
        **{name: facts[name] for name in ("data_sha256", "model_sha256", "plan_sha256")},
        "gates": tomllib.loads((run / "plan.toml").read_text("utf-8")).get("gates", {}),
        "scope": "runs",
    }
    shared = _read(beside)
    try:
        append_line(beside, _line(line).rstrip("\n"))
    except RunError:
        line["scope"] = "run"
    known = {_line(entry) for entry in (*openings(run), *shared) if entry["data_sha256"] == line["data_sha256"]}
    lines = sorted({*known, _line(line)})
    replace_sealed(run, FILE, "".join(lines).encode())
    return [json.loads(each) for each in lines]


def openings(run: Path) -> list[Opening]:
    """Every known opening of the labels a run was measured on, oldest first."""
    return _read(run / FILE)


def _line(opening: Opening) -> str:
    """Lines begin with their time, so that text sorts by it."""
    whole = checked_line(opening)
    return json.dumps({"at": whole["at"]} | {key: whole[key] for key in sorted(whole)}) + "\n"


def _read(path: Path) -> list[Opening]:
    if not path.exists():
        return []
    try:
        found = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        for line in found:
            _ = [line[key] for key in ("split", "data_sha256", "model_sha256", "plan_sha256", "scope")]
            _ = line["at"][:16].replace("T", " "), {**line["gates"]}
            if not is_whole(line):
                raise ValueError(f"the line of {line['at']} was changed")  # noqa: TRY301 - told below like the others
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        raise RunError(
            f"{path} says how often test labels were opened and cannot be read ({error}). "
            "Repair the line, or move the file away; the count then starts anew."
        ) from None
    return found
