"""From a run folder to small typed result tables; everything here can be computed again from the folder alone."""

from pathlib import Path
from typing import Literal, TypeAlias

from demur.analysis.acceptance import label_access
from demur.analysis.assemble import analyse, tables_of
from demur.analysis.csv_tables import table_files
from demur.analysis.many_classes import shortened
from demur.analysis.results import Results
from demur.analysis.run_folder import Run, open_run
from demur.errors import RunError
from demur.openings import note, openings
from demur.records import shard_entries
from demur.seal import AGGREGATES, harmed, is_derived, read_seal, unseal, write_sealed

__all__ = ["Results", "Rows", "analyse", "write_results"]

Rows: TypeAlias = Literal["auto", "all", "counted"]
"""Whether every row is held, or all are counted and a sample of them is held; by default as many rows as there are."""

MOST_ROWS = 2_000_000
"""More rows than this are counted rather than held."""

_FILE = "results.json"


def write_results(run: Path, by: str = "report", rows: Rows = "auto") -> Results:
    """Analyse a run folder and write its `results.json` and `tables/`.

    This opens the test labels, which is recorded with the name of the command (`by`). An audit that found nothing to
    measure opens none: what it worked out stands, and is written again only where it was changed.

    Raises:
        RunError: the folder holds no finished run, or a file in it was changed, or its rows cannot be counted.
    """
    sealed = read_seal(run) or {}
    stands = by == "audit" and _FILE in sealed
    if stands and not any(name == _FILE or name.startswith("tables/") for name in harmed(run)):
        kept = _read(run)
        if kept is not None:
            return kept
    opened = open_run(run)
    complete, files = _worked_out(opened, rows)
    results = shortened(complete)
    access = openings(run) if stands else note(run, "test", by)
    results = results.model_copy(update={"label_access": label_access(access)})
    unseal(run, [name for name in sealed if is_derived(name) and not name.startswith(AGGREGATES)])
    write_sealed(run, {**files, _FILE: results.text.encode()})
    return results


def _worked_out(run: Run, rows: Rows) -> tuple[Results, dict[str, bytes]]:
    """The results, and the tables as files."""
    if not _is_counted(run, rows):
        complete = tables_of(run)
        return complete, table_files(run, complete)
    from demur.analysis.aggregates.counted_results import counted_files
    from demur.analysis.aggregates.kept_aggregates import counted_run

    counted = counted_run(run)
    complete = tables_of(counted.run, counted)
    return complete, table_files(counted.run, complete, counted_files(counted))


def _is_counted(run: Run, rows: Rows) -> bool:
    """Whether rows are counted, as was asked or because of their number, as far as that can be done."""
    from demur.analysis.aggregates.shard_counts import refusal

    if rows == "all" or (rows == "auto" and sum(run.planned_rows.values()) <= MOST_ROWS):
        return False
    why = refusal(run, shard_entries(run.path))
    if why and rows == "counted":
        raise RunError(f"the rows of {run.path} cannot be counted: {why}. Ask for all rows instead: --rows all.")
    return why is None


def _read(run: Path) -> Results | None:
    """What `results.json` holds; None where it is of another version."""
    try:
        return Results.model_validate_json((run / _FILE).read_bytes())
    except ValueError:
        return None
