"""How well each signal tells what it should tell: error, attack, shift."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from demur.analysis.results import Quantity, SignalRow, TargetRow
from demur.analysis.run import Flags, Run, groups, score, wrong
from demur.metrics import Estimate, Resampler, augrc, aupr, aurc, coverage_at_risk, fpr95
from demur.metrics.delong import auroc_gain, auroc_interval

BASELINE = "msp"
_REPLICATES = 500


@dataclass(frozen=True)
class Target:
    """Rows to score and which of them a signal should doubt; `units` are resampled as one."""

    name: Literal["error", "attack", "attack_oblivious", "shift"]
    rows: pl.DataFrame
    positive: Flags
    units: NDArray[Any] | None


def signal_rows(run: Run, risk: float) -> tuple[SignalRow, ...]:
    """Every signal against every target the run has rows for; unfitted signals are scored on all held-out rows."""
    targets = list(_targets(run))
    return tuple(
        SignalRow(
            name=entry["name"],
            sentence=entry["sentence"],
            unit=entry["unit"],
            targets=tuple(_target(target, entry["name"], risk) for target in targets),
        )
        for entry in run.facts["signals"]
    )


def _targets(run: Run) -> Iterator[Target]:
    clean = run.rows("clean")
    yield Target("error", clean, wrong(clean), groups(clean))
    for name, keep in (("attack", "worst"), ("attack_oblivious", "nearest")):
        found = run.conditions("attack", keep)
        if found:
            yield _attack(run, name, found[0]["name"])
    corrupted = [run.rows(entry["name"], "test") for entry in run.conditions("corruption")]
    if corrupted:
        yield _against_clean("shift", pl.concat(corrupted), run.rows("clean", "test"))


def _attack(run: Run, name: Any, condition: str) -> Target:
    """Rows that were right and are now wrong, against the same images unattacked."""
    attacked = run.rows(condition)
    clean = run.rows("clean").join(attacked.select("sample_id"), on="sample_id", how="semi")
    right = clean.filter(~pl.Series(wrong(clean))).select("sample_id")
    flipped = attacked.filter(pl.Series(wrong(attacked))).join(right, on="sample_id", how="semi")
    return _against_clean(name, flipped, clean)


def _against_clean(name: Any, positive: pl.DataFrame, clean: pl.DataFrame) -> Target:
    scored = pl.col(r"^(sample_id|group|signal\..*)$")
    rows = pl.concat([positive.select(scored), clean.select(scored)])
    flags = np.arange(len(rows)) < len(positive)
    units = groups(rows)
    return Target(name, rows, flags, rows["sample_id"].to_numpy() if units is None else units)


def _target(target: Target, signal: str, risk: float) -> TargetRow:
    doubt, positive = score(target.rows, signal), target.positive
    gain = None if signal == BASELINE else auroc_gain(doubt, score(target.rows, BASELINE), positive, target.units)
    resampler = Resampler(len(target.rows), target.units, replicates=_REPLICATES)
    found = resampler.estimates(_metrics(target, risk), doubt, positive)
    return TargetRow(
        target=target.name,
        positives=int(positive.sum()),
        negatives=int((~positive).sum()),
        auroc=_quantity(auroc_interval(doubt, positive, target.units), target),
        gain=None if gain is None else _quantity(gain, target),
        **{name: _quantity(found[name], target) if name in found else None for name in _RESAMPLED},
    )


_RESAMPLED = ("augrc", "aurc", "aupr", "fpr95", "coverage_at_risk")


def _metrics(target: Target, risk: float) -> Mapping[str, Any]:
    """AUGRC, AURC and coverage at risk speak of answers, so of the error target only."""
    if target.name == "shift":
        return {}
    if target.name == "error":
        at_risk = partial(coverage_at_risk, risk=risk)
        return {"aupr": aupr, "fpr95": fpr95, "augrc": augrc, "aurc": aurc, "coverage_at_risk": at_risk}
    return {"aupr": aupr, "fpr95": fpr95}


def _quantity(estimate: Estimate, target: Target) -> Quantity:
    """The unit is the image where rows are tied together only because they are of one image."""
    quantity = Quantity.of(estimate)
    return quantity if groups(target.rows) is not None else quantity.model_copy(update={"unit": "image"})
