"""What a guarantee is about, counted on rows: its shares, one by one, and whether they keep to what was guaranteed."""

from dataclasses import dataclass

import polars as pl

from demur.analysis.run_folder import GROUP, Run, independent_rows
from demur.policies import CertifiedPolicy, ClassThreshold, SiteThresholds
from demur.policies.keeping import FEWEST_ANSWERS, Keeping, keeping
from demur.records import wrong


@dataclass(frozen=True)
class Part:
    """One share that a guarantee bounds by `risk`: `errors` of `of` independent units, of which `answers` are answered.

    `name` is the class or site that it is of, None where the guarantee is about all together. Of a class all units
    count, answered or not; else those answered.
    """

    name: str | None
    risk: float
    n: int
    answers: int
    errors: int
    of: int


def guard_parts(run: Run, guard: CertifiedPolicy, rows: pl.DataFrame) -> tuple[Part, ...]:
    """The shares that the guarantee of a guard is about, on these rows."""
    match guard:
        case ClassThreshold():
            classes = enumerate(guard.certificate.classes)
            own = ((each.name, each.risk, rows.filter(pl.col("label") == k)) for k, each in classes)
            return tuple(_part(run, guard, (name, risk), part, among_all=True) for name, risk, part in own)
        case SiteThresholds():
            risk, sites = guard.certificate.risk, run.sites(guard.column, rows)
            own_sites = ((each.site, rows.filter(sites == each.site)) for each in guard.certificate.sites)
            return tuple(_part(run, guard, (site, risk), part) for site, part in own_sites)
        case _:
            return (_part(run, guard, (None, guard.certificate.risk), rows),)


def _part(
    run: Run, guard: CertifiedPolicy, subject: tuple[str | None, float], rows: pl.DataFrame, *, among_all: bool = False
) -> Part:
    alone = isinstance(guard, SiteThresholds) and guard.column == GROUP
    units = rows if alone else independent_rows(rows)
    given = units.filter(run.accepts(guard, units))
    name, risk = subject
    return Part(
        name=name,
        risk=risk,
        n=len(units),
        answers=len(given),
        errors=int(wrong(given).sum()),
        of=len(units) if among_all else len(given),
    )


def judged(parts: tuple[Part, ...]) -> Keeping | None:
    """Whether a guarantee is kept: broken where one of its shares is, holds where all do; None on too few answers."""
    if sum(part.answers for part in parts) < FEWEST_ANSWERS:
        return None
    states = {keeping(part.errors, part.of, part.risk, len(parts)) for part in parts}
    return "broken" if "broken" in states else "undecided" if "undecided" in states else "holds"
