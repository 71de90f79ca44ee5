"""Which way the model errs and where, in one sentence each."""

from demur.analysis.direction import ANOTHER
from demur.analysis.results import Results, Side, SliceRow
from demur.report.phrases import count, frequency, percent, plural

_PER = 1000


def which_way(results: Results) -> str | None:
    """Positives that escape and false alarms, per thousand; None where no class is the positive one."""
    found = results.direction
    if found is None:
        return None
    clean = found.rows[0]
    guarded = results.promise is not None
    lead = f"Of {count(_PER)} images of “{found.positive}”"
    return (
        f"{lead} {_taken(clean.missed, f'called {other(found.others)}', guarded=guarded)}. "
        f"False alarms: {_taken(clean.alarmed, f'of {count(_PER)} others', guarded=guarded)} "
        f"(measured on {count(_size(clean.missed, guarded=guarded))} and "
        f"{plural(_size(clean.alarmed, guarded=guarded), 'image')})."
    )


def other(name: str) -> str:
    """The other answer: a class in quotes, or that it is any of several."""
    return name if name == ANOTHER else f"“{name}”"


def which_way_short(results: Results) -> str | None:
    """The same for a line of a terminal."""
    found = results.direction
    if found is None:
        return None
    clean, guarded = found.rows[0], results.promise is not None
    missed, alarmed = (_briefly(side, guarded=guarded) for side in (clean.missed, clean.alarmed))
    return f"of {count(_PER)} “{found.positive}” {missed} missed; false alarms in {count(_PER)} others: {alarmed}."


def _bare(side: Side, *, guarded: bool) -> float:
    """What is taken for the other side without the guard, of the same images as with it."""
    return side.test_taken.value if guarded else side.taken.value


def _size(side: Side, *, guarded: bool) -> int:
    return side.test_n if guarded else side.n


def _briefly(side: Side, *, guarded: bool) -> str:
    taken = _bare(side, guarded=guarded)
    if taken != taken:
        return "—"
    bare = count(round(_PER * taken))
    if not guarded or side.slipped is None or side.slipped.value != side.slipped.value:
        return bare
    return f"{bare} (guarded {count(round(_PER * side.slipped.value))})"


def _taken(side: Side, what: str, *, guarded: bool) -> str:
    taken = _bare(side, guarded=guarded)
    if taken != taken:
        return f"an unknown number are {what}: there are no such images"
    bare = f"{count(round(_PER * taken))} {'are ' if what.startswith('called') else ''}{what}"
    slipped, passed = side.slipped, side.passed_on
    if not guarded or slipped is None or passed is None or slipped.value != slipped.value:
        return bare
    return (
        f"{bare}; with the guard {count(round(_PER * slipped.value))}, "
        f"and {count(round(_PER * passed.value))} go to a person"
    )


def worst_slice(results: Results) -> str | None:
    """The slice that fares worst, with its size."""
    row = results.worst_slice
    if row is None:
        return None
    guarded = results.promise is not None and row.risk is not None and row.risk.value == row.risk.value
    errors, n = (row.test_accuracy, row.test_n) if guarded else (row.accuracy, row.n)
    said = f"{named(row)}: {percent(1 - errors.value, 0)} of {plural(n, 'image')} wrong when all are answered"
    return f"{said}; {frequency(row.risk.value)} with the guard." if guarded and row.risk else f"{said}."


def named(row: SliceRow) -> str:
    """A slice by its column and value."""
    return f"{row.column} {row.value}"
