"""From a run folder to small typed result tables; everything here can be computed again from the folder alone."""

from pathlib import Path

from demur.analysis.acceptance import label_access
from demur.analysis.aggregates.counted_results import counted_files
from demur.analysis.aggregates.kept_aggregates import Rows, chosen_counts
from demur.analysis.assemble import analyse, tables_of
from demur.analysis.csv_tables import table_files
from demur.analysis.effort_table import effort
from demur.analysis.many_classes import shortened
from demur.analysis.results import Results
from demur.analysis.run_folder import Run, open_run
from demur.openings import note, openings
from demur.seal import AGGREGATES, harmed, is_derived, read_seal, sweep, unseal, write_sealed

__all__ = ["Results", "Rows", "analyse", "write_results"]

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
        kept = _read(run, rows)
        if kept is not None:
            return kept
    opened = open_run(run)
    sweep(run)
    complete, files = _worked_out(opened, rows)
    results = shortened(complete)
    access = openings(run) if stands else note(run, "test", by)
    results = results.model_copy(update={"label_access": label_access(access)})
    unseal(run, [name for name in sealed if is_derived(name) and not name.startswith(AGGREGATES)])
    write_sealed(run, {**files, _FILE: results.text.encode()})
    return results


def _worked_out(run: Run, rows: Rows) -> tuple[Results, dict[str, bytes]]:
    """The results, and the tables as files."""
    counted = chosen_counts(run, rows)
    if counted is None:
        complete = tables_of(run)
        return complete, table_files(run, complete)
    complete = tables_of(counted.run, counted)
    return complete, table_files(counted.run, complete, counted_files(counted))


def _read(run: Path, rows: Rows) -> Results | None:
    """What `results.json` holds, and what was spent, which it does not; None where it is of another version."""
    try:
        found = Results.model_validate_json((run / _FILE).read_bytes())
    except ValueError:
        return None
    opened = open_run(run)
    counted = chosen_counts(opened, rows)
    return found.model_copy(update={"effort": effort(opened if counted is None else counted.run)})
