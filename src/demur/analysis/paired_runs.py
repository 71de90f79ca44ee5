"""Two runs on the same images, side by side: differences are second − first, positive where the second does better."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from demur.analysis.comparison.class_changes import ClassChanges
from demur.analysis.comparison.hardening import Hardening, Measurement
from demur.analysis.comparison.model_costs import CostRow
from demur.analysis.comparison.overlaid_curves import RiskCurves, StandingCurves
from demur.analysis.comparison.phases import Phase
from demur.analysis.quantity import Number, Quantity, Table
from demur.analysis.robustness.attack_tables import stage_names
from demur.analysis.robustness.censored_quantiles import ROUNDING, CensoredQuantile, censored_quantile, finite
from demur.analysis.robustness.least_distances import attack_searches, minimal_perturbation
from demur.analysis.robustness.perturbation_curves import Entry, section_searches
from demur.analysis.run_folder import Floats, Run, share
from demur.metrics.paired import holm, mcnemar, paired
from demur.metrics.quantiles import FEWEST
from demur.records import groups


class RunRow(Table):
    """One run of those compared; `letter` is what it is called in sentences."""

    letter: str
    path: str
    model: str
    model_sha256: str
    plan_sha256: str


class Shares(Table):
    """Images that each model has right: `only_first` are wrong with the second, `only_second` with the first.

    `p_value` is McNemar's exact one, with groups that of turning whole groups.
    """

    n: int
    first: Quantity
    second: Quantity
    only_first: int
    only_second: int
    p_value: Number
    difference: Quantity


class RobustAccuracyPair(Table):
    """Images that nothing fooled, of all attacks both runs made, by a change of at most the size of an ensemble."""

    condition: str
    sentence: str
    norm: str
    eps: float
    shares: Shares


class PerturbationPair(Table):
    """Minimal perturbations of the same images: medians, and on how many images the one or the other model's is larger.

    `p_value` is the sign test's, `difference` the median of the differences, `effect` the share where the second's is
    larger minus the share where the first's is.
    """

    n: int
    first: CensoredQuantile
    second: CensoredQuantile
    first_larger: int
    second_larger: int
    ties: int
    p_value: Number
    difference: Quantity
    effect: Quantity


class ClassPerturbations(Table):
    """One class; `p_value` is Holm's over all classes, and is null for those of fewer than six images."""

    name: str
    changes: PerturbationPair
    p_value: Number


class SearchPair(Table):
    """One search that both runs have, by what it found itself, over every image, and over those both models had right.

    What is wrong already counts as 0. `cap` is the smaller of the two; changes above it count as never found. `better`
    is said only where p is at most 5 %.
    """

    condition: str
    sentence: str
    norm: str
    cap: Number
    all_images: PerturbationPair
    correct_images: PerturbationPair
    per_class: tuple[ClassPerturbations, ...]
    better: Literal["first", "second"] | None
    verdict: str


class ModelPair(Table):
    """The first run of all and one other; the verdict is about right answers, and the first of the `searches`."""

    first: str
    second: str
    accuracy: Shares
    robust_accuracy: tuple[RobustAccuracyPair, ...]
    searches: tuple[SearchPair, ...]
    notes: tuple[str, ...]
    verdict: str


class Comparison(Table):
    """Runs on the same images, each but the first against the first.

    `tested` is the number of differences of all `phases`, which each is corrected for, `lacking` says what only some of
    the runs measured.
    """

    schema_version: Literal[1] = 1
    data: str
    data_sha256: str
    classes: tuple[str, ...]
    runs: tuple[RunRow, ...]
    hardening: tuple[Hardening, ...]
    measurements: tuple[Measurement, ...]
    phases: tuple[Phase, ...]
    tested: int
    costs: tuple[CostRow, ...]
    class_changes: tuple[ClassChanges, ...]
    standing: tuple[StandingCurves, ...]
    risks: RiskCurves | None
    lacking: tuple[str, ...]
    pairs: tuple[ModelPair, ...]


_FIRST, _SECOND = "first", "second"
_ONE_SIDED = "on too many images only one of the two was ever flipped"


@dataclass(frozen=True)
class PairedRuns:
    """Two runs on the same data, image by image."""

    first: Run
    second: Run

    def join(self, condition: str, value: Callable[[Run, pl.DataFrame], ArrayLike]) -> pl.DataFrame:
        """The images both runs have under a condition, with what `value` makes of each run's rows."""
        one, other = self.first.rows(condition), self.second.rows(condition)
        one = one.with_columns(pl.Series(_FIRST, np.asarray(value(self.first, one))))
        other = other.with_columns(pl.Series(_SECOND, np.asarray(value(self.second, other))))
        return one.join(other.select("sample_id", _SECOND), on="sample_id", how="inner", maintain_order="left")

    def common(self, found: Callable[[Run], Iterator[Entry]]) -> Iterator[tuple[Entry, Entry]]:
        """The conditions of a sort that both runs have, in the order of the first."""
        known = {entry["name"]: entry for entry in found(self.second)}
        return ((entry, known[entry["name"]]) for entry in found(self.first) if entry["name"] in known)


def perturbation_searches(run: Run) -> Iterator[Entry]:
    """Every search for minimal perturbations of whole images that was not confined to a target."""
    yield from attack_searches(run)
    yield from section_searches(run)


def ensembles(run: Run) -> Iterator[Entry]:
    """Every ensemble of attacks, strongest at one size."""
    for entry in run.conditions("attack", "nearest"):
        if entry["severity"] and stage_names(run.rows(entry["name"])):
            yield entry


def shares(rows: pl.DataFrame) -> Shares:
    """Which images each of two models has right."""
    first, second = (rows[name].to_numpy() for name in (_FIRST, _SECOND))
    found = mcnemar(first, second, groups(rows))
    return Shares(
        n=found.n,
        first=share(first, rows),
        second=share(second, rows),
        only_first=found.larger,
        only_second=found.smaller,
        p_value=found.p_value,
        difference=Quantity.of(found.effect),
    )


def paired_perturbations(rows: pl.DataFrame, cap: float | None) -> PerturbationPair:
    """The minimal perturbations of two models."""
    first, second = (cap_at(rows[name].to_numpy(), cap) for name in (_FIRST, _SECOND))
    units = groups(rows)
    found = paired(first, second, units)
    return PerturbationPair(
        n=found.n,
        first=censored_quantile(first, units, cap),
        second=censored_quantile(second, units, cap),
        first_larger=found.larger,
        second_larger=found.smaller,
        ties=found.ties,
        p_value=found.p_value,
        difference=finite(found.difference, _ONE_SIDED),
        effect=Quantity.of(found.effect),
    )


def class_perturbations(
    rows: pl.DataFrame, cap: float | None, classes: tuple[str, ...]
) -> tuple[ClassPerturbations, ...]:
    """The same class by class, of classes that have images; p-values by Holm."""
    found = [
        (classes[k], paired_perturbations(own, cap))
        for (k,), own in sorted(rows.group_by("label", maintain_order=True))
    ]
    asked = [each.p_value if each.first.n >= FEWEST else np.nan for _, each in found]
    return tuple(
        ClassPerturbations(name=name, changes=each, p_value=p)
        for (name, each), p in zip(found, holm(asked), strict=True)
    )


def row_perturbations(_: Run, rows: pl.DataFrame) -> Floats:
    """The minimal perturbation of each row."""
    return minimal_perturbation(rows)


def cap_at(found: Floats, cap: float | None) -> Floats:
    """PerturbationPair above the cap are infinite."""
    return found if cap is None else np.where(found > cap + ROUNDING, np.inf, found)
