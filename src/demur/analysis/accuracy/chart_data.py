"""What the charts draw: risk-coverage curves, histograms, reliability, the gallery."""

import numpy as np
import polars as pl

from demur.analysis.quantity import Number, Quantity, Table
from demur.analysis.run_folder import BASELINE, Floats, Run, score
from demur.files import read_json
from demur.metrics import oracle, reliability, risk_coverage
from demur.metrics.calibration import ece_interval, row_losses
from demur.metrics.estimate import Estimate
from demur.metrics.jackknife import mean_interval
from demur.metrics.ranking import RiskCurve as Measured
from demur.records import groups, wrong


class CurvePoint(Table):
    """One threshold of a risk-coverage curve: accept where uncertainty ≤ threshold."""

    threshold: float
    coverage: float
    risk: float


class RiskCoverage(Table):
    """A risk-coverage curve over clean test rows; at most 200 points."""

    signal: str
    points: tuple[CurvePoint, ...]


class Histogram(Table):
    """Scores of one signal by outcome; `edges` has one more entry than each of the counts."""

    signal: str
    edges: tuple[float, ...]
    right: tuple[int, ...]
    wrong: tuple[int, ...]
    corrupted: tuple[int, ...]
    attacked: tuple[int, ...]


class Bin(Table):
    """One bin of a reliability diagram."""

    low: float
    high: float
    n: int
    confidence: Number
    accuracy: Quantity


class CalibrationTable(Table):
    """Confidence against accuracy on all clean held-out rows."""

    ece: Quantity
    nll: Quantity
    brier: Quantity
    bins: tuple[Bin, ...]


class GalleryImage(Table):
    """A confidently wrong image; `thumb` is a data URI or null."""

    sample_id: str
    label: str
    predicted: str
    confidence: float
    is_answered: bool | None
    thumb: str | None


BINS = 40
"""Of a histogram of scores."""


def curves(run: Run) -> tuple[RiskCoverage, ...]:
    """The risk-coverage curve of every signal over clean test rows; none where there is no such row."""
    test = run.rows("clean", "test")
    return (
        ()
        if test.is_empty()
        else tuple(risk_coverage_table(name, risk_coverage(score(test, name), wrong(test))) for name in run.signals)
    )


def oracle_curve(run: Run) -> RiskCoverage | None:
    """The curve of a signal that knows every error; None where there is no test row."""
    test = run.rows("clean", "test")
    return None if test.is_empty() else risk_coverage_table("oracle", oracle(wrong(test)))


def risk_coverage_table(name: str, curve: Measured) -> RiskCoverage:
    """A curve as a table."""
    points = zip(curve.threshold, curve.coverage, curve.risk, strict=True)
    return RiskCoverage(
        signal=name,
        points=tuple(CurvePoint(threshold=float(t), coverage=float(c), risk=float(r)) for t, c, r in points),
    )


def histograms(run: Run) -> tuple[Histogram, ...]:
    """Scores by outcome over test rows: clean right, clean wrong, corrupted, attacked at the worst point."""
    clean = run.rows("clean", "test")
    corrupted = [run.rows(entry["name"], "test") for entry in run.conditions("corruption")]
    attacked = [run.rows(entry["name"]) for entry in run.conditions("attack", "worst")]
    return tuple(_histogram(name, clean, corrupted, attacked) for name in run.signals)


def _histogram(
    name: str, clean: pl.DataFrame, corrupted: list[pl.DataFrame], attacked: list[pl.DataFrame]
) -> Histogram:
    parts = {
        "right": score(clean.filter(~pl.Series(wrong(clean))), name),
        "wrong": score(clean.filter(pl.Series(wrong(clean))), name),
        "corrupted": _pooled(corrupted, name),
        "attacked": _pooled(attacked, name),
    }
    everything = np.concatenate(list(parts.values()))
    low, high = np.percentile(everything, [0.5, 99.5]) if len(everything) else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    counts = {key: np.histogram(values.clip(edges[0], edges[-1]), edges)[0] for key, values in parts.items()}
    return Histogram(
        signal=name,
        edges=tuple(float(edge) for edge in edges),
        **{key: tuple(int(count) for count in values) for key, values in counts.items()},
    )


def _pooled(tables: list[pl.DataFrame], name: str) -> Floats:
    return np.concatenate([score(table, name) for table in tables]) if tables else np.empty(0)


def calibration(run: Run) -> CalibrationTable:
    """Confidence against accuracy on all clean held-out rows."""
    rows = run.rows("clean")
    if not run.has_logits:
        none = Quantity.of(Estimate.undefined("a table of scores says no probabilities"))
        return CalibrationTable(ece=none, nll=none, brier=none, bins=())
    right, confidence, units = ~wrong(rows), 1 - score(rows, BASELINE), groups(rows)
    surprise, distance = row_losses(run.logits, rows["label"].to_numpy())
    return CalibrationTable(
        ece=Quantity.of(ece_interval(confidence, right, units)),
        nll=Quantity.of(mean_interval(surprise, units)),
        brier=Quantity.of(mean_interval(distance, units)),
        bins=tuple(
            Bin(low=part.low, high=part.high, n=part.n, confidence=part.confidence, accuracy=Quantity.of(part.accuracy))
            for part in reliability(confidence, right, groups=units)
        ),
    )


def gallery(run: Run) -> tuple[GalleryImage, ...]:
    """The most confident errors, the surest first; without images on which the model failed when they were changed."""
    names = read_json(run.path / "facts" / "gallery.json")
    rows = run.rows("clean")
    answered = None if run.guard is None else run.accepts(run.guard, rows)
    place = {name: number for number, name in enumerate(rows["sample_id"])}
    return tuple(
        GalleryImage(
            sample_id=name,
            label=run.classes[rows["label"][place[name]]],
            predicted=run.classes[rows["predicted"][place[name]]],
            confidence=float(1 - rows[f"signal.{BASELINE}"][place[name]]),
            is_answered=None if answered is None else bool(answered[place[name]]),
            thumb=run.thumb(f"{number}.webp"),
        )
        for number, name in enumerate(names)
        if name in place
    )
