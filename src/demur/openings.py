"""When the labels of the certify and test splits were opened, under which plan and gates, and how often.

An opening is one line of JSON in `opened.jsonl`: `at`, `split`, `by`, `run`, the hashes of data, model and plan, the
gates, and for the certify split the rows and looks (`ledger`). It is appended to the file beside the run folders, where
all runs on the same images meet, and the lines about these images are kept in the run folder too, so that the folder
alone can tell. The ids of certify rows lie in `opened/` of the run folder and in `.opened/` beside it.
"""

import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

from demur.errors import RunError
from demur.files import checked_line, read_json
from demur.ledger import (
    Ids,
    Inquiry,
    LabelledRows,
    Ledger,
    Line,
    line_text,
    look_numbers,
    read_ids,
    read_lines,
    rows_of,
    series,
)
from demur.seal import is_intact, replace_sealed, write_sealed

FILE = "opened.jsonl"

Opening = Mapping[str, Any]
Scope: TypeAlias = Literal["runs", "run"]


def note(run: Path, split: Literal["certify", "test"], by: str) -> list[Opening]:
    """Write down that a command opens the labels of a split; every opening that is now in the run folder, oldest first.

    Where the folder of the run folder cannot be written the line says so in `scope`, and only this run is counted.

    Raises:
        RunError: a file of openings is damaged.
    """
    _append(run, {"split": split, "by": by})
    return openings(run)


def note_looks(run: Path, by: str, inquiry: Inquiry, statements: Sequence[str]) -> tuple[list[int], Scope]:
    """Write down that a command opens the certify labels to test statements; which look each is, and where it counts.

    The line is appended before it is counted, and looks are numbered by their place, so that of two audits at once one
    is the first. A look that was noted before keeps its number.

    Raises:
        RunError: a file of openings is damaged.
    """
    keep_rows(run, inquiry.rows)
    lines, scope = _append(run, {"split": "certify", "by": by, **inquiry.line(statements)}, inquiry.rows)
    return look_numbers(lines, inquiry.line(statements)["looks"], _reader(run)), scope


def keep_rows(run: Path, rows: LabelledRows) -> None:
    """Keep the ids of certify rows in the run folder, sealed; they are there once, however often they are kept."""
    name = f"{ROWS}/{rows.name}"
    if not is_intact(run, name):
        write_sealed(run, {name: rows.content})


ROWS = "opened"
"""The folder of ids in a run folder."""


def openings(run: Path) -> list[Opening]:
    """Every known opening of the labels a run was measured on, oldest first."""
    data = read_json(run / "run.json").get("data_sha256")
    return [line for line in _read(run / FILE) if line["data_sha256"] == data]


def copy_looks(run: Path, ledger: Ledger) -> None:
    """Copy the looks at the certify labels that a run folder has, with the ids of their rows, into another ledger.

    Raises:
        RunError: a file is damaged, or the ledger cannot be written.
    """
    for line in _read(run / FILE):
        if "looks" in line:
            ids = _reader(run)(line["rows"])  # those of other runs lie beside the run folders alone
            ledger.add(line, None if ids is None else LabelledRows(ids, ""))


def _append(run: Path, opening: Opening, rows: LabelledRows | None = None) -> tuple[list[Line], Scope]:
    """Append an opening; every line there is, those first that only the run folder has, and where it was counted."""
    facts, beside = read_json(run / "run.json"), _ledger_of(run)
    line = {
        "at": datetime.now(UTC).isoformat(timespec="microseconds"),
        **opening,
        "run": run.resolve().name,
        **{name: facts[name] for name in ("data_sha256", "model_sha256", "plan_sha256")},
        "gates": tomllib.loads((run / "plan.toml").read_text("utf-8")).get("gates", {}),
        "scope": "runs",
    }
    scope: Scope = "runs"
    _read(beside.path)
    try:
        beside.add(line, rows)
    except RunError:
        scope = "run"
    shared = _read(beside.path)
    late = [] if scope == "runs" else [checked_line({**line, "scope": scope})]
    lines = _in_order([*_read(run / FILE), *late], shared)
    kept = {line_text(each) for each in _about(run, lines, line)}
    replace_sealed(run, FILE, "".join(f"{each}\n" for each in sorted(kept)).encode())
    return lines, scope


def _in_order(own: Sequence[Line], shared: Sequence[Line]) -> list[Line]:
    """Lines that came along with a run folder, those beside it, and those that could not be written there."""
    there = {line_text(line) for line in shared}
    lone = [line for line in own if line_text(line) not in there]
    before, after = ([line for line in lone if (line["scope"] == "runs") == counted] for counted in (True, False))
    return [*before, *shared, *after]


def _about(run: Path, lines: Sequence[Line], own: Line) -> list[Line]:
    """The lines about the same images as one, and those of its series."""
    looks = [rows_of(each) for each in lines if "looks" in each]
    linked = series(looks, rows_of(own), _reader(run)) if "looks" in own else set()
    return [
        each
        for each in lines
        if each["data_sha256"] == own["data_sha256"] or ("looks" in each and rows_of(each) in linked)
    ]


def _ledger_of(run: Path) -> Ledger:
    return Ledger(run.resolve().parent / FILE)


def _reader(run: Path) -> Any:
    """Reads ids beside the run folders or in this one."""

    def read(name: str) -> Ids | None:
        found = _ledger_of(run).ids(name)
        return read_ids(run / ROWS / name) if found is None else found

    return read


def _read(path: Path) -> list[Opening]:
    keys = ("at", "split", "data_sha256", "model_sha256", "plan_sha256", "scope", "gates")
    return read_lines(path, "how often test labels were opened", keys)
