"""What was measured, row by row: a number for every run, and what every run differs by from the first."""

from typing import Literal, TypeAlias, get_args

import numpy as np

from demur.analysis.comparison.guarded_measures import guarded_measures
from demur.analysis.comparison.joined_runs import Runs
from demur.analysis.comparison.phase_measures import LEVEL, Kind, Measure, measures
from demur.analysis.comparison.proven_measures import proven_measures
from demur.analysis.comparison.smoothed_measures import smoothed_measures
from demur.analysis.quantity import Number, Quantity, Table
from demur.metrics.estimate import Estimate

Outcome: TypeAlias = Literal["better", "worse", "noise", "void"]


class Cell(Table):
    """What one run has in one phase."""

    letter: str
    value: Quantity


class Difference(Table):
    """A later run − the first: `p_value` and the interval hold for all differences of the phases at once.

    It is void where a check of the measurement that it rests on failed in one of the two runs.
    """

    second: str
    difference: Quantity
    p_value: Number
    outcome: Outcome


class Phase(Table):
    """One measure, on the `n` images that every run with a cell has; a run without a cell did not measure it.

    Attributes:
        kind: what sort of measure it is; further sorts may come.
        unit: `share` for shares of images, `area` for an area under a curve.
        larger_is_better: whether a positive difference is for the better.
        condition: the condition it is of, or the signal; null for those of several, and of what is proven.
        eps: the size of the change, where it has one.
    """

    kind: Kind
    title: str
    sentence: str
    unit: Literal["share", "area"]
    larger_is_better: bool
    condition: str | None
    eps: float | None = None
    norm: str | None = None
    n: int
    cells: tuple[Cell, ...]
    differences: tuple[Difference, ...]

    def cell(self, letter: str) -> Cell | None:
        """What a run has; None where it did not measure this."""
        return next((cell for cell in self.cells if cell.letter == letter), None)

    def difference(self, second: str) -> Difference | None:
        """What a later run differs by from the first; None where one of the two did not measure this."""
        return next((each for each in self.differences if each.second == second), None)


def phases(runs: Runs) -> tuple[Phase, ...]:
    """Every phase that at least two runs have; differences are corrected for the number of all of them."""
    first, order = next(iter(runs)), get_args(Kind)
    every = (*measures(runs), *guarded_measures(runs), *proven_measures(runs), *smoothed_measures(runs))
    found = sorted(every, key=lambda each: order.index(each.facts["kind"]))
    several = sum(len(measure.seconds(first)) for measure in found)
    return tuple(_phase(measure, first, several) for measure in found)


def difference_count(found: tuple[Phase, ...]) -> int:
    """How many differences were tested, which is what each is corrected for."""
    return sum(len(phase.differences) for phase in found)


def _phase(measure: Measure, first: str, several: int) -> Phase:
    rows = measure.table()
    sign = 1 if measure.facts["larger_is_better"] else -1
    cells = (Cell(letter=letter, value=Quantity.of(measure.cell(rows, letter))) for letter in measure.runs)
    made = ((second, *measure.difference(rows, first, second, several)) for second in measure.seconds(first))
    return Phase(
        **measure.facts,
        n=len(rows),
        cells=tuple(cells),
        differences=tuple(tested(second, found, p_value * several, sign) for second, found, p_value in made),
    )


def tested(second: str, found: Estimate, p_value: float, sign: int) -> Difference:
    """More than noise where both the corrected p-value and the interval say so."""
    outcome: Outcome = "noise"
    if p_value <= LEVEL and not found.low <= 0 <= found.high:
        outcome = "better" if sign * found.value > 0 else "worse"
    return Difference(
        second=second, difference=Quantity.of(found), p_value=float(np.minimum(1, p_value)), outcome=outcome
    )
