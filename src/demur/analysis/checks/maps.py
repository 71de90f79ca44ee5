"""Checks of maps: none of them fails an audit, for no promise rests on a map."""

from collections.abc import Iterator

from demur.analysis.average import values
from demur.analysis.checks.levels import sure_level
from demur.analysis.results import Check
from demur.analysis.run import Run
from demur.analysis.sanity import sanities
from demur.records import EXPLAIN

_MANY_EMPTY = 0.05


def maps(run: Run) -> Iterator[Check]:
    """Whether maps show anything, and anything of the weights."""
    entries = run.conditions("map")
    if not entries:
        return
    tables = [run.rows(entry["name"]) for entry in entries]
    empty, total = sum(int((values(rows, f"{EXPLAIN}empty") > 0).sum()) for rows in tables), sum(map(len, tables))
    yield Check(
        name="maps are not empty",
        state=sure_level(empty, total, _MANY_EMPTY, 1.0),
        sentence="Maps that are zero everywhere and left out of what is said of maps",
        count=empty,
        of=total,
    )
    sane = sanities(run)
    if sane:
        stuck = [name for name, found in sane.items() if found.state != "pass"]
        named = f" ({', '.join(stuck)})" if stuck else ""
        yield Check(
            name="maps change with the weights",
            state="warn" if stuck else "pass",
            sentence=f"Kinds of map not shown to change when the weights are drawn at random{named}",
            count=len(stuck),
            of=len(sane),
        )
