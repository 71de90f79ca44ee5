"""Tables that counts of scores on a grid tell to the width of its cells: rankings, curves, histograms, calibration."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from demur.analysis.accuracy.chart_data import (
    BINS,
    Bin,
    CalibrationTable,
    Histogram,
    RiskCoverage,
    risk_coverage_table,
)
from demur.analysis.aggregates.counted_rows import CountedRun
from demur.analysis.quantity import Quantity
from demur.analysis.signals.signal_ranking import SignalRow, TargetRow
from demur.metrics.estimate import Estimate
from demur.metrics.ranking import RiskCurve, nearest
from demur.metrics.score_grid import Binned, GridCounts

_POINTS = 200
AT_RISK = "coverage at a risk"
WORDS = {
    "auroc": "AUROC",
    "fpr95": "FPR@95",
    "aupr": "AUPR",
    "augrc": "AUGRC",
    "aurc": "AURC",
    "eaurc": "E-AURC",
    "coverage_at_risk": AT_RISK,
}
"""What the slack of each metric goes by."""


class Grid:
    """The scores of a run by signal, in cells; `slack` keeps how far a number may be off, by kind and signal."""

    def __init__(self, own: CountedRun) -> None:
        """Of a run that was counted."""
        self.own = own
        self.slack = dict[str, dict[str, float]]()

    def lines(self, signal: str, conditions: Collection[str], splits: Collection[str] | None = None) -> pl.DataFrame:
        """The counts of a signal under some conditions."""
        chosen = (pl.col("signal") == signal) & pl.col("condition").is_in(list(conditions))
        found = self.own.counts.grid.filter(chosen)
        return found if splits is None else found.filter(pl.col("split").is_in(list(splits)))

    def number(self, signal: str, name: str, found: Binned) -> float:
        """A number of the grid that is told of a signal; how far it may be off is kept."""
        own = self.slack.setdefault(name, {})
        own[signal] = max(own.get(signal, 0.0), found.slack if np.isfinite(found.slack) else 0.0)
        return found.value

    def ends(self, signal: str) -> Any:
        """The highest score of each cell of a signal."""
        return self.own.counts.ends.filter(pl.col("signal") == signal)["end"].to_numpy()

    def counts(self, signal: str, positive: pl.DataFrame, negative: pl.DataFrame) -> GridCounts:
        """Lines of counts against others."""
        sides = (
            table.group_by("cell").agg(pl.col("count").sum().alias(name))
            for name, table in (("p", positive), ("n", negative))
        )
        first, second = sides
        both = first.join(second, on="cell", how="full", coalesce=True).fill_null(0).sort("cell")
        numbers = (both[name].to_numpy().astype(np.float64) for name in ("p", "n"))
        return GridCounts(self.ends(signal)[both["cell"].to_numpy()], *numbers)

    @property
    def unfitted(self) -> list[str]:
        """The splits for numbers that no label was fitted for."""
        return ["test"] if self.own.run.has_test_rows else ["tune", "certify"]

    def errors(self, signal: str, splits: Collection[str] | None = None) -> GridCounts:
        """Wrong against right answers to clean images."""
        lines = self.lines(signal, ["clean"], splits)
        return self.counts(signal, lines.filter("wrong"), lines.filter(~pl.col("wrong")))

    @property
    def corrupted(self) -> list[str]:
        """The conditions that are corruptions."""
        return [entry["name"] for entry in self.own.run.conditions("corruption")]

    def shift(self, signal: str) -> GridCounts:
        """Corrupted against clean test images."""
        clean = self.lines(signal, ["clean"], ["test"])
        return self.counts(signal, self.lines(signal, self.corrupted, ["test"]), clean)


def attainable(grid: Grid, signal: str, risk: float) -> float:
    """The largest coverage at which so few answers were wrong."""
    return grid.number(signal, AT_RISK, grid.errors(signal, grid.unfitted).coverage_at_risk(risk))


def signal_rows(grid: Grid, sampled: tuple[SignalRow, ...], risk: float) -> tuple[SignalRow, ...]:
    """Every signal against errors and shift over all rows; other targets, and gains, are those of the sample."""
    return tuple(
        row.model_copy(update={"targets": tuple(_target(grid, row, target, risk) for target in row.targets)})
        for row in sampled
    )


def _target(grid: Grid, row: SignalRow, target: TargetRow, risk: float) -> TargetRow:
    if target.target == "error":
        splits = None if row.fit_images is None else ["test"]
        counts = grid.errors(row.name, splits)
        of = {**counts.metrics, "coverage_at_risk": counts.coverage_at_risk(risk)}
    elif target.target == "shift" and not grid.own.run.weighted.intersection(grid.corrupted):
        counts, splits = grid.shift(row.name), ["test"]
        of = {name: counts.metrics[name] for name in ("auroc", "fpr95")}
    else:
        return target
    clean = grid.own.rows("clean", splits)  # which has an image of every group
    n = counts.n if clean.unit == "image" else clean.units
    told = {name: _number(grid, row.name, name, found, getattr(target, name), n) for name, found in of.items()}
    if target.target == "error" and clean.unit == "image" and told["auroc"] is not target.auroc:
        told["auroc"] = Quantity.of(counts.auroc())
    sizes = {"positives": int(counts.positive.sum()), "negatives": int(counts.negative.sum())}
    return target.model_copy(update=sizes | told)


def _number(grid: Grid, signal: str, name: str, found: Binned, sampled: Quantity, n: int) -> Quantity:
    """A number of all rows, as unsure as that of the sample and by what cells hide; the sample's if that is surer.

    All rows are surer than some of them, so the width of the sample's interval is more than enough; and of the sample
    it is known which rows go together.
    """
    if np.isnan(found.value):
        return Quantity.of(Estimate.undefined("undefined here: no right or no wrong answers", n=n, unit=sampled.unit))
    if found.slack > (sampled.high - sampled.low) / 2:
        return sampled
    value = grid.number(signal, WORDS[name], found)
    low, high = (
        value - (sampled.value - sampled.low) - found.slack,
        value + (sampled.high - sampled.value) + found.slack,
    )
    low, high = np.clip([low, high], 0.0, 1.0)
    return Quantity(value=value, low=low, high=high, n=n, unit=sampled.unit, reason=sampled.reason)


def curves(grid: Grid) -> tuple[RiskCoverage, ...]:
    """The risk-coverage curve of every signal over clean test rows, at the ends of cells, where it is exact."""
    if not grid.own.run.has_test_rows:
        return ()
    return tuple(risk_coverage_table(name, grid.errors(name, ["test"]).curve(_POINTS)) for name in grid.own.run.signals)


def all_steps(grid: Grid) -> Iterator[pl.DataFrame]:
    """Every step of these curves."""
    for name in grid.own.run.signals if grid.own.run.has_test_rows else ():
        counts = grid.errors(name, ["test"])
        answers, errors = np.cumsum(counts.positive + counts.negative), np.cumsum(counts.positive)
        yield pl.DataFrame(
            {
                "signal": [name] * len(answers),
                "threshold": counts.ends,
                "coverage": answers / counts.n,
                "risk": errors / answers,
                "answers": answers.astype(np.int64),
                "wrong_answers": errors.astype(np.int64),
            }
        )


def oracle_curve(own: CountedRun) -> RiskCoverage | None:
    """The curve of a signal that knows every error; None where there is no test row."""
    test = own.rows("clean", ["test"])
    if not test.n:
        return None
    wrong = test.number(pl.col("predicted") != pl.col("label"))
    kept = np.arange(1, test.n + 1) if test.n <= _POINTS else _spread(test.n)
    coverage = kept / test.n
    risk = np.maximum(0, kept - (test.n - wrong)) / kept
    return risk_coverage_table("oracle", RiskCurve(coverage, coverage, risk))


def _spread(n: int) -> Any:
    """As `RiskCurve.thinned`, of n points that are not held: those nearest to points evenly spread."""
    wanted = np.linspace(1 / n, 1.0, _POINTS)
    near = np.unique(np.clip(np.floor(wanted * n)[:, None] + np.arange(-1, 3), 1, n))
    return np.unique(near[nearest(near / n, wanted)]).astype(np.int64)


def histograms(grid: Grid) -> tuple[Histogram, ...]:
    """Scores by outcome, as of the rows; a cell that an edge parts is counted where its upper end lies."""
    run = grid.own.run
    attacked = [entry["name"] for entry in run.conditions("attack", "worst")]
    found = []
    for name in run.signals:
        clean = grid.lines(name, ["clean"], ["test"])
        parts = {
            "right": clean.filter(~pl.col("wrong")),
            "wrong": clean.filter("wrong"),
            "corrupted": grid.lines(name, grid.corrupted, ["test"]),
            "attacked": grid.lines(name, attacked),
        }
        found.append(_histogram(grid, name, parts))
    return tuple(found)


def _histogram(grid: Grid, name: str, parts: Mapping[str, pl.DataFrame]) -> Histogram:
    pooled, ends = pl.concat(parts.values()), grid.ends(name)
    everything, known = grid.counts(name, pooled, pooled.clear()), ends[np.isfinite(ends)]
    low, high = (everything.quantile(q) for q in (0.005, 0.995)) if everything.n else (0.0, 1.0)
    low, high = np.clip([low, high], known[0], known[-1]) if len(known) else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    counts = {
        key: np.histogram(
            ends[own["cell"].to_numpy()].clip(edges[0], edges[-1]), edges, weights=own["count"].to_numpy()
        )[0]
        for key, own in parts.items()
    }
    return Histogram(
        signal=name,
        edges=tuple(float(edge) for edge in edges),
        **{key: tuple(int(count) for count in values) for key, values in counts.items()},
    )


def calibration(own: CountedRun, sampled: CalibrationTable) -> CalibrationTable:
    """Confidence against accuracy on all clean held-out rows."""
    sums = own.counts.calibration
    if sums is None:
        return sampled
    return CalibrationTable(
        ece=Quantity.of(sums.ece),
        nll=Quantity.of(sums.nll),
        brier=Quantity.of(sums.brier),
        bins=tuple(
            Bin(low=part.low, high=part.high, n=part.n, confidence=part.confidence, accuracy=Quantity.of(part.accuracy))
            for part in sums.reliability
        ),
    )
