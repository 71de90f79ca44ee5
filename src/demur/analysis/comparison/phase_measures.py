"""What can be compared of several runs: shares under conditions, means over corruptions, how well errors are ranked."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import ndtri

from demur.analysis.comparison.joined_runs import Entry, Runs, averaged, common_names, joined, shared
from demur.analysis.quantity import Quantity
from demur.analysis.robustness.attack_tables import is_fooled, is_sized, stage_names
from demur.analysis.robustness.least_distances import edge, least_distances
from demur.analysis.run_folder import Flags, Run, score, share
from demur.metrics import augrc
from demur.metrics.estimate import Estimate
from demur.metrics.jackknife import Jackknife, mean_interval
from demur.metrics.paired import mcnemar, sign_effect
from demur.metrics.paired_gains import sign_flip_test
from demur.metrics.ranking import Floats, risk_at_coverage
from demur.metrics.swapped_ranks import swap_test
from demur.records import groups, wrong

Kind: TypeAlias = Literal["clean", "attack", "worst case", "guard", "proven", "smoothed", "corruption", "selective"]

LEVEL = 0.05
COVERAGES = (0.9, 0.7)
_ATTACKS = ("attack", "epsilon")
_NORMS = {"linf": "L∞", "l2": "L2", "l1": "L1"}


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A phase before it is worked out: the runs that have it, and how cells and differences are made."""

    facts: dict[str, Any]
    runs: Runs
    table: Callable[[], pl.DataFrame]
    cell: Callable[[pl.DataFrame, str], Estimate]
    difference: Callable[[pl.DataFrame, str, str, int], tuple[Estimate, float]]

    def seconds(self, first: str) -> tuple[str, ...]:
        """The later runs that are compared with the first."""
        return tuple(letter for letter in self.runs if letter != first) if first in self.runs else ()


def measures(runs: Runs) -> Iterator[Measure]:
    """What can be compared: every sort of phase, in order."""
    for entry, own in shared(runs, ("clean",)):
        yield _shares("clean", "Clean", entry["sentence"], own, partial(joined, own, entry["name"], _right), entry)
    yield from _attacks(runs)
    yield from _worst_cases(runs)
    yield from _corruptions(runs)
    yield from _selective(runs)


def _attacks(runs: Runs) -> Iterator[Measure]:
    """Attacks one by one; a search without a size has no accuracy, and an ensemble is a worst case."""
    for entry, own in shared(runs, ("attack",)):
        if _has_size(entry) and not _is_ensemble(next(iter(own.values())), entry):
            stands = partial(_stands, entry=entry)
            yield _shares(
                "attack", _title(entry), entry["sentence"], own, partial(joined, own, entry["name"], stands), entry
            )


def _worst_cases(runs: Runs) -> Iterator[Measure]:
    """At the sizes of ensembles, or where there are none at those of all attacks."""
    found = [
        (entry, own) for entry, own in shared(runs, ("attack",)) if _has_size(entry) and entry.get("target") is None
    ]
    staged = [(entry, own) for entry, own in found if _is_ensemble(next(iter(own.values())), entry)]
    sizes: dict[tuple[str, float], Any] = {}
    for entry, own in staged or found:
        sizes.setdefault((entry["norm"], entry["severity"]), (entry, own))
    for (norm, eps), (entry, own) in sorted(sizes.items(), key=lambda item: item[0]):
        among = common_names(own, _ATTACKS)
        if norm in _NORMS:
            stands = partial(_stands_all, norm=norm, eps=eps, among=among)
            size = f"{eps:.3g} ({_NORMS[norm]})"
            said = f"Right and not fooled by any change of at most {size} that an attack found, of those run on all"
            table = partial(joined, own, entry["name"], stands)
            yield _shares("worst case", f"Worst case up to {size}", said, own, table, entry)


def _corruptions(runs: Runs) -> Iterator[Measure]:
    """Families of corruptions over their severities, and all together where there are several."""
    found = [*shared(runs, ("corruption",))]
    everywhere = [entry for entry, own in found if len(own) == len(runs)]
    families = dict.fromkeys(entry["family"] for entry in everywhere)
    if len(families) > 1:
        yield _corrupted(runs, "All corruptions, mean", everywhere)
    for family in families:
        own = [entry for entry in everywhere if entry["family"] == family]
        yield _corrupted(runs, f"{family.replace('_', ' ').capitalize()}, mean of {len(own)}", own)


def _corrupted(runs: Runs, title: str, entries: list[Entry]) -> Measure:
    names = [entry["name"] for entry in entries]
    said = f"Mean share of right answers under {', '.join(names)}"
    return Measure(
        facts=_facts("corruption", title, said, None),
        runs=runs,
        table=partial(averaged, runs, names, _right),
        cell=lambda rows, letter: mean_interval(rows[letter].to_numpy(), groups(rows)),
        difference=_mean_difference,
    )


def _selective(runs: Runs) -> Iterator[Measure]:
    """How well the first signal that all have tells right answers from wrong ones: at two coverages, and over all."""
    signal = common_signal(runs)
    if signal is None:
        return
    for coverage in COVERAGES:
        said = f"Right answers among the {100 * coverage:.0f} % with the least {signal}"
        accuracy = partial(_selective_accuracy, coverage=coverage)
        yield _ranked(runs, f"Selective accuracy at {100 * coverage:.0f} % answered", said, signal, accuracy)
    said = f"Area under the share of all images that are answered and wrong, over coverage, by {signal}: low is good"
    yield _ranked(runs, "AUGRC", said, signal, augrc)


def common_signal(runs: Runs) -> str | None:
    """The first signal of the first run that all have, of those that learned from no labels; None without one."""
    first, *others = runs.values()
    names = (entry["name"] for entry in first.facts["signals"] if "bank" not in entry)
    return next((name for name in names if all(name in run.signals for run in others)), None)


def _selective_accuracy(uncertainty: Any, errors: Any, weights: Floats | None = None, *, coverage: float) -> Any:
    return 1 - risk_at_coverage(uncertainty, errors, weights, coverage=coverage)


def _ranked(runs: Runs, title: str, said: str, signal: str, metric: Any) -> Measure:
    is_area = metric is augrc

    def cell(rows: pl.DataFrame, letter: str) -> Estimate:
        found = _ranks(rows, letter)
        return Jackknife(len(rows), groups(rows)).estimate(metric, *found, scale="log" if is_area else "logit")

    def difference(rows: pl.DataFrame, first: str, second: str, several: int) -> tuple[Estimate, float]:
        def gap(*given: Any, weights: Floats | None = None) -> Any:
            return metric(*given[2:], weights) - metric(*given[:2], weights)

        one, other = _ranks(rows, first), _ranks(rows, second)
        found = Jackknife(len(rows), groups(rows), level=1 - LEVEL / (2 * several)).estimate(gap, *one, *other)
        return found, swap_test(one, other, metric, groups(rows))

    return Measure(
        facts=_facts("selective", title, said, signal)
        | ({"unit": "area", "larger_is_better": False} if is_area else {}),
        runs=runs,
        table=partial(_scores, runs, signal),
        cell=cell,
        difference=difference,
    )


def _scores(runs: Runs, signal: str) -> pl.DataFrame:
    """A column of scores and, beside it, one of errors, of the clean images of all runs."""
    rows = joined(runs, "clean", lambda _, own: score(own, signal))
    errors = joined(runs, "clean", lambda _, own: wrong(own))
    return rows.with_columns(errors[letter].alias(_wrong_of(letter)) for letter in runs)


def _wrong_of(letter: str) -> str:
    return f"wrong.{letter}"


def _ranks(rows: pl.DataFrame, letter: str) -> tuple[NDArray[Any], NDArray[Any]]:
    return rows[letter].to_numpy(), rows[_wrong_of(letter)].to_numpy()


def _shares(kind: Kind, title: str, said: str, runs: Runs, table: Callable[[], pl.DataFrame], entry: Entry) -> Measure:
    size = {"eps": entry["severity"], "norm": entry["norm"]} if kind in {"attack", "worst case"} else {}
    return share_measure(_facts(kind, title, said, entry["name"]) | size, runs, table)


def share_measure(facts: dict[str, Any], runs: Runs, table: Callable[[], pl.DataFrame]) -> Measure:
    """Shares of images; more is better unless the facts say otherwise."""
    return Measure(
        facts={"unit": "share", "larger_is_better": True} | facts,
        runs=runs,
        table=table,
        cell=lambda rows, letter: _estimate(share(rows[letter].to_numpy(), rows)),
        difference=_share_difference,
    )


def _facts(kind: Kind, title: str, said: str, condition: str | None) -> dict[str, Any]:
    facts = {"kind": kind, "title": title, "sentence": said, "condition": condition}
    return facts | {"unit": "share", "larger_is_better": True}


def _estimate(found: Quantity) -> Estimate:
    return Estimate(**found.model_dump())


def _share_difference(rows: pl.DataFrame, first: str, second: str, several: int) -> tuple[Estimate, float]:
    return share_difference(rows, first, second, float(ndtri(1 - LEVEL / (2 * several))))


def share_difference(rows: pl.DataFrame, first: str, second: str, z: float) -> tuple[Estimate, float]:
    """Second − first of shares of the same images, `z` standard errors to either side, and McNemar's p-value."""
    one, other, units = rows[first].to_numpy(), rows[second].to_numpy(), groups(rows)
    return sign_effect(other.astype(int) - one.astype(int), units, z), mcnemar(one, other, units).p_value


def _mean_difference(rows: pl.DataFrame, first: str, second: str, several: int) -> tuple[Estimate, float]:
    found, units = rows[second].to_numpy() - rows[first].to_numpy(), groups(rows)
    spread = Jackknife(len(found), units, level=1 - LEVEL / (2 * several))
    return spread.estimate(_mean, found), float(sign_flip_test([found], units)[0])


def _mean(values: Floats, weights: Floats | None = None) -> Any:
    return float(values.mean()) if weights is None else weights @ values / weights.sum(axis=1)


def _right(_: Run, rows: pl.DataFrame) -> Flags:
    return np.asarray(~wrong(rows))


def _stands(_: Run, rows: pl.DataFrame, entry: Entry) -> Flags:
    return ~is_fooled(rows, entry)


def _stands_all(run: Run, rows: pl.DataFrame, norm: str, eps: float, among: frozenset[str]) -> Flags:
    return np.asarray(least_distances(run, norm, rows, among) > edge(eps))


def _has_size(entry: Entry) -> bool:
    return entry["severity"] > 0 and (entry.get("keep") != "nearest" or is_sized(entry))


def _is_ensemble(run: Run, entry: Entry) -> bool:
    return is_sized(entry) and bool(stage_names(run.rows(entry["name"])))


def _title(entry: Entry) -> str:
    return str(entry.get("title") or entry["name"])
