"""From a run folder to small typed result tables; everything here can be computed again from the folder alone."""

from pathlib import Path

from demur.analysis.acceptance import label_access
from demur.analysis.assemble import analyse, tables_of
from demur.analysis.csv_tables import write_tables
from demur.analysis.results import Results
from demur.openings import note
from demur.records import write_atomically

__all__ = ["Results", "analyse", "write_results"]


def write_results(run: Path, by: str = "report") -> Results:
    """Analyse a run folder and write its `results.json` and `tables/`.

    This opens the test labels, which is recorded with the name of the command (`by`).
    """
    results = tables_of(run)
    results = results.model_copy(update={"label_access": label_access(note(run, "test", by))})
    write_tables(run, results)
    write_atomically(run / "results.json", (results.model_dump_json(indent=1) + "\n").encode())
    return results
