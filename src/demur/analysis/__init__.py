"""From a run folder to small typed result tables; everything here can be computed again from the folder alone."""

from pathlib import Path

from demur.analysis.assemble import analyse
from demur.analysis.results import Results
from demur.records import write_atomically

__all__ = ["Results", "analyse", "write_results"]


def write_results(run: Path) -> Results:
    """Analyse a run folder and write its `results.json`."""
    results = analyse(run)
    write_atomically(run / "results.json", (results.model_dump_json(indent=1) + "\n").encode())
    return results
