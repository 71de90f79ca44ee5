"""The minimal perturbation along a direction: of the model, of each class, and what classes turn into."""

import numpy as np
import polars as pl

from demur.analysis.quantity import Number, Quantity, Table
from demur.analysis.robustness.censored_quantiles import CensoredQuantile, censored_quantile, ecdf, sortable
from demur.analysis.robustness.least_distances import minimal_perturbation
from demur.analysis.robustness.perturbation_curves import (
    AttackComparison,
    Confidence,
    Entry,
    attack_comparisons,
    confidence_curve,
    is_direction,
    section_searches,
)
from demur.analysis.run_folder import Flags, Floats, Run
from demur.metrics.class_ranking_test import RankingTest, class_ranks, ranking_test
from demur.metrics.quantiles import weighted_median
from demur.records import groups


class ClassSearch(Table):
    """One class: `wrong` images count as 0, `censored` ones never flipped up to the cap; `rank` 1 flips first.

    `right_median` is over the images that were right.
    """

    name: str
    n: int
    wrong: int
    censored: int
    lower: CensoredQuantile
    median: CensoredQuantile
    upper: CensoredQuantile
    rank: int | None
    right_median: CensoredQuantile | None = None


class ClassConfusion(Table):
    """How many images of one class first turn into another, and the median of their minimal perturbations."""

    label: str
    prediction: str
    n: int
    median: Number


class Ranking(Table):
    """Whether the order of the classes is more than noise.

    `p_value` is Kruskal and Wallis's, by permutation of the labels; `halves` the rank correlation between the classes'
    medians in two random halves of the images. Both are of all images, as the ranks are.
    """

    classes: int
    n: int
    statistic: Number
    p_value: Number
    halves: Quantity
    sentence: str


class MinimalPerturbation(Table):
    """The minimal perturbation that one search found. Quantiles are over all images; already wrong ones count as 0.

    Directions are followed up to their `cap`; other searches have none, and what they never flip has no size.
    `minimum` and `maximum` are of the images that flipped. `scan` and `refinement` are forwards per flipped image.
    `resolution` says in words what the scan can see. `ecdf` holds at most 200 pairs of a size and the share of all
    images that no change of at most this size flips, by growing size; its first size is 0, its last the cap.
    """

    condition: str
    sentence: str
    norm: str
    cap: Number
    n: int
    wrong: int
    censored: int
    lower: CensoredQuantile
    median: CensoredQuantile
    upper: CensoredQuantile
    right_median: CensoredQuantile
    minimum: Number
    maximum: Number
    scan: Number
    refinement: Number
    per_class: tuple[ClassSearch, ...]
    ranking: Ranking | None
    confusions: tuple[ClassConfusion, ...]
    curve: tuple[Confidence, ...]
    comparisons: tuple[AttackComparison, ...]
    resolution: str | None = None
    ecdf: tuple[tuple[float, float], ...] = ()
    classes_left_out: int = 0


_QUARTER = 0.25
_MOST_CONFUSIONS = 20
_LEVEL = 0.05
_STEADY = 0.7


def perturbation_tables(run: Run) -> tuple[MinimalPerturbation, ...]:
    """Every search for minimal perturbations of whole images, in the order of the plan; none of regions."""
    return tuple(_search(run, entry) for entry in section_searches(run))


def _search(run: Run, entry: Entry) -> MinimalPerturbation:
    rows = run.rows(entry["name"])
    changes, cap = minimal_perturbation(rows), entry["cap"]
    flipped = _flipped(changes)
    lower, median, upper = _quartiles(rows, changes, cap)
    right = changes > 0
    return MinimalPerturbation(
        condition=entry["name"],
        sentence=entry["sentence"],
        norm=entry["norm"],
        cap=np.nan if cap is None else cap,
        resolution=entry["resolution"],
        n=len(rows),
        wrong=int((changes == 0).sum()),
        censored=int(np.isinf(changes).sum()),
        lower=lower,
        median=median,
        upper=upper,
        right_median=censored_quantile(changes[right], groups(rows.filter(right)), cap),
        minimum=float(changes[flipped].min(initial=np.inf)) if flipped.any() else np.nan,
        maximum=float(changes[flipped].max(initial=0)) if flipped.any() else np.nan,
        scan=_spent(rows, flipped, "spent.scan"),
        refinement=_spent(rows, flipped, "spent.refine"),
        per_class=_classes(run, rows, changes, cap),
        ranking=_ranking(rows, changes),
        confusions=_confusions(run, rows, changes),
        curve=confidence_curve(run, entry["name"]),
        comparisons=attack_comparisons(run, entry) if is_direction(entry) else (),
        ecdf=ecdf(changes, cap),
    )


def _flipped(changes: Floats) -> Flags:
    return (changes > 0) & np.isfinite(changes)


def _quartiles(
    rows: pl.DataFrame, changes: Floats, cap: float | None
) -> tuple[CensoredQuantile, CensoredQuantile, CensoredQuantile]:
    units = groups(rows)
    lower, median, upper = (censored_quantile(changes, units, cap, share) for share in (_QUARTER, 0.5, 1 - _QUARTER))
    return lower, median, upper


def _spent(rows: pl.DataFrame, flipped: Flags, column: str) -> float:
    """Forwards per flipped image; undefined for a search that has no such part."""
    if column not in rows.columns or not flipped.any():
        return float("nan")
    return float(np.mean(rows.filter(flipped)[column].fill_null(0).to_numpy()))


def _classes(run: Run, rows: pl.DataFrame, changes: Floats, cap: float | None) -> tuple[ClassSearch, ...]:
    """Every class that has images."""
    labels, found = rows["label"].to_numpy(), []
    for k in np.unique(labels):
        own = labels == k
        right = own & (changes > 0)
        lower, median, upper = _quartiles(rows.filter(own), changes[own], cap)
        found.append(
            ClassSearch(
                name=run.classes[k],
                n=int(own.sum()),
                wrong=int((changes[own] == 0).sum()),
                censored=int(np.isinf(changes[own]).sum()),
                lower=lower,
                median=median,
                upper=upper,
                rank=None,
                right_median=censored_quantile(changes[right], groups(rows.filter(right)), cap),
            )
        )
    places = class_ranks([sortable(row.median) for row in found], [row.median.n for row in found])
    return tuple(row.model_copy(update={"rank": place}) for row, place in zip(found, places, strict=True))


def _ranking(rows: pl.DataFrame, changes: Floats) -> Ranking | None:
    """Of all images, those that were wrong already at 0: the very numbers by whose medians classes are ranked."""
    found = ranking_test(changes, rows["label"].to_numpy(), groups(rows))
    if found is None:
        return None
    return Ranking(
        classes=found.classes,
        n=found.n,
        statistic=found.statistic,
        p_value=found.p_value,
        halves=Quantity.of(found.halves),
        sentence=_sentence(found),
    )


def _sentence(found: RankingTest) -> str:
    if found.p_value > _LEVEL:
        return "The order of the classes may be noise: chance alone often makes such differences."
    if found.halves.value >= _STEADY:
        return "The classes differ by more than noise, and two halves of the images order them alike."
    return "The classes differ by more than noise, but their exact places may not hold on other images."


def _confusions(run: Run, rows: pl.DataFrame, changes: Floats) -> tuple[ClassConfusion, ...]:
    """What flipped images turn into first, the most common turns first."""
    turned = rows.with_columns(change=pl.Series(changes)).filter(pl.Series(_flipped(changes)))
    pairs = turned.group_by("label", "predicted").agg(n=pl.len(), changes=pl.col("change"))
    common = pairs.sort("n", "label", "predicted", descending=[True, False, False]).head(_MOST_CONFUSIONS)
    return tuple(
        ClassConfusion(
            label=run.classes[row["label"]],
            prediction=run.classes[row["predicted"]],
            n=row["n"],
            median=weighted_median(row["changes"]),
        )
        for row in common.to_dicts()
    )
