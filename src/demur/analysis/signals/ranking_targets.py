"""What a signal is to tell apart, and each signal beside the baseline MSP."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from demur.analysis.quantity import Quantity, Table
from demur.analysis.run_folder import Flags, Floats, Run, score
from demur.metrics import Estimate
from demur.metrics.delong import Kinds, Ranking
from demur.metrics.paired import critical_value
from demur.metrics.units import unit_codes
from demur.records import ALIKE, DESIGN, STANDS_FOR, groups, wrong

_SIGNAL = "signal."
TargetName: TypeAlias = Literal["error", "attack", "attack_oblivious", "shift", "unknown"]


@dataclass(frozen=True)
class Target:
    """Rows to score and which of them (`positive`) should score high; `units` are resampled as one."""

    name: TargetName
    rows: pl.DataFrame
    positive: Flags
    units: NDArray[Any] | None

    def only(self, chosen: Flags) -> "Target":
        """Some of its rows."""
        units = None if self.units is None else self.units[chosen]
        return replace(self, rows=self.rows.filter(chosen), positive=self.positive[chosen], units=units)

    @property
    def is_test(self) -> Flags:
        """Rows that no signal was fitted on and no policy chosen by."""
        return np.asarray((self.rows["split"] == "test").to_numpy(), bool)

    @property
    def weights(self) -> Floats | None:
        """For how many rows each stands; None where all stand for equally many."""
        if STANDS_FOR not in self.rows.columns:
            return None
        return np.asarray(self.rows[STANDS_FOR].fill_null(1.0).to_numpy(), np.float64)

    @cached_property
    def alike(self) -> "Target":
        """Its rows that were drawn alike, for what cannot be told of rows that stand for more than others."""
        if ALIKE not in self.rows.columns:
            return self
        found = self.only(self.rows[ALIKE].fill_null(True).to_numpy())  # noqa: FBT003 - a value
        return replace(found, rows=found.rows.drop(DESIGN, strict=False))

    @cached_property
    def held_back(self) -> "Target":
        """Its test rows, which fitted signals are scored on."""
        return self.only(self.is_test)

    @cached_property
    def rankings(self) -> Mapping[str, Ranking]:
        """Its rows by each signal, put in order once, when that is first asked for."""
        kinds = Kinds.of(self.positive, self.units, self.weights)
        names = [column.removeprefix(_SIGNAL) for column in self.rows.columns if column.startswith(_SIGNAL)]
        return {name: kinds.ranked(score(self.rows, name)) for name in names}

    def quantity(self, estimate: Estimate) -> Quantity:
        """The unit is the image where rows are tied together only because they are of one image."""
        quantity = Quantity.of(estimate)
        return quantity if groups(self.rows) is not None else quantity.model_copy(update={"unit": "image"})


def targets(run: Run) -> Iterator[Target]:
    """Every target the run has rows for."""
    clean = run.rows("clean")
    yield Target("error", clean, wrong(clean), _codes(groups(clean)))
    keeps: tuple[tuple[TargetName, str], ...] = (("attack", "worst"), ("attack_oblivious", "nearest"))
    for name, keep in keeps:
        found = run.conditions("attack", keep)
        if found:
            yield attack_target(run, name, found[0]["name"])
    corrupted = [run.drawn(entry["name"], "test") for entry in run.conditions("corruption")]
    if corrupted:
        yield _against_clean("shift", pl.concat(corrupted, how="diagonal"), run.rows("clean", "test"))
    for entry in run.conditions("unknown"):
        yield _against_clean("unknown", run.rows(entry["name"]), run.rows("clean", "test"))


def attack_target(run: Run, name: TargetName, condition: str) -> Target:
    """Rows that were right and are now wrong, against all images of the attack as they were."""
    attacked = run.drawn(condition)
    drawn = attacked.select("sample_id", *(name for name in DESIGN if name in attacked.columns))
    clean = run.every_clean.join(drawn, on="sample_id", maintain_order="left")
    right = clean.filter(~pl.Series(wrong(clean))).select("sample_id")
    flipped = attacked.filter(pl.Series(wrong(attacked))).join(right, on="sample_id", how="semi")
    return _against_clean(name, flipped, clean)


def _against_clean(name: TargetName, positive: pl.DataFrame, clean: pl.DataFrame) -> Target:
    scored = pl.col(r"^(sample_id|split|group|signal\..*|part\..*|design\..*)$")
    rows = pl.concat([positive.select(scored), clean.select(scored)], how="diagonal")
    flags = np.arange(len(rows)) < len(positive)
    units = groups(rows)
    return Target(name, rows, flags, _codes(rows["sample_id"].to_numpy() if units is None else units))


def _codes(units: NDArray[Any] | None) -> NDArray[np.intp] | None:
    """Units by number, in the order of their names."""
    return None if units is None else unit_codes(units)[1]


class Contest(Table):
    """Which of the `candidates` signals beat the baseline at a target, all of them considered, and which lose to it.

    Of those that are `better` the `blind` are not shown to find failures better than chance, and the `unusable` are
    shown to refuse more than half of what is right before they catch 95 % of the failures.
    """

    target: TargetName
    candidates: int
    better: tuple[str, ...]
    blind: tuple[str, ...]
    worse: tuple[str, ...]
    sentence: str
    unusable: tuple[str, ...] = ()


_CHANCE = 0.5


@dataclass(frozen=True, eq=False)
class Gain:
    """A difference of AUROC to the baseline, and what each unit of all rows adds to its error."""

    estimate: Estimate
    influence: Floats

    @classmethod
    def of(cls, target: Target, signal: str, baseline: str, *, fitted: bool) -> "Gain":
        """Over all rows, or where the signal was fitted over those held back; other units then add nothing."""
        part = target.held_back if fitted else target
        ours, theirs = part.rankings[signal], part.rankings[baseline]
        own = ours.gain_influence(theirs)
        return cls(ours.gain(theirs), _spread(target, own) if fitted else own)


def _spread(target: Target, own: Floats) -> Floats:
    """What units held back add, at their places among all units."""
    if target.units is None:
        everything = np.zeros(len(target.rows))
        everything[target.is_test] = own
        return everything
    units = np.unique(target.units)
    everything = np.zeros(len(units))
    everything[np.isin(units, target.units[target.is_test])] = own
    return everything


def simultaneous_gains(gains: Mapping[str, Gain]) -> dict[str, Estimate]:
    """Gains with intervals that hold together; without an interval where a gain alone has none."""
    told = {name: gain for name, gain in gains.items() if not np.isnan(gain.estimate.low)}
    times = critical_value(np.stack([gain.influence for gain in told.values()])) if told else np.nan
    return {name: _widened(gain, times) if name in told else replace(gain.estimate) for name, gain in gains.items()}


def _widened(gain: Gain, times: float) -> Estimate:
    half = times * float(np.sqrt(np.square(gain.influence).sum()))
    value = gain.estimate.value
    return replace(gain.estimate, low=value - half, high=value + half)


def contest(
    target: Target, corrected: Mapping[str, Estimate], areas: Mapping[str, Estimate], usable: Mapping[str, bool | None]
) -> Contest:
    """Who wins and who loses, in words; `areas` are the AUROCs, for one may win and still be no better than chance."""
    better = tuple(sorted((n for n, e in corrected.items() if e.low > 0), key=lambda n: -corrected[n].value))
    untold = sum(np.isnan(estimate.low) for estimate in corrected.values())
    blind = tuple(name for name in better if not areas[name].low > _CHANCE)
    useless = tuple(name for name in better if usable[name] is False)
    return Contest(
        target=target.name,
        candidates=len(corrected),
        better=better,
        blind=blind,
        worse=tuple(name for name, estimate in corrected.items() if estimate.high < 0),
        sentence=_words(better, blind, useless, candidates=len(corrected), untold=int(untold)),
        unusable=useless,
    )


def _words(
    better: tuple[str, ...], blind: tuple[str, ...], useless: tuple[str, ...], *, candidates: int, untold: int
) -> str:
    if not candidates:
        return "No other signal was compared with the baseline here."
    if untold == candidates:
        return "Too few failures were seen here to compare any signal with the baseline."
    if not better:
        return "No signal beats the baseline here."
    seeing = tuple(name for name in better if name not in blind)
    if not seeing:
        return "Every signal that beats the baseline here is still no better than a coin."
    told = f"{_listed(seeing)} {'beats' if len(seeing) == 1 else 'beat'} the baseline here"
    told += _unused(seeing, tuple(name for name in seeing if name in useless))
    return f"{told} {len(blind)} more rank above it and are no better than a coin." if blind else told


_USELESS = "to catch 95 % of the failures more than half of all else would be refused"


def _unused(seeing: tuple[str, ...], useless: tuple[str, ...]) -> str:
    """What is said of winners that are of no use."""
    if not useless:
        return "."
    if useless == seeing:
        return f" and {'is' if len(seeing) == 1 else 'are'} not usable: {_USELESS}."
    return f"; {_listed(useless)} {'is' if len(useless) == 1 else 'are'} not usable all the same: {_USELESS}."


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
