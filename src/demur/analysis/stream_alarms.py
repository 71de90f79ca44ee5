"""How late a monitor of a stream raises its alarm, and how often for nothing, on streams drawn from a run's rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from demur.analysis.quantity import Number, Table
from demur.analysis.run_folder import Floats, Run, score
from demur.errors import InputError, unknown
from demur.metrics import Estimate, proportion
from demur.metrics.jackknife import mean_interval
from demur.metrics.quantiles import quantile
from demur.policies import FittedMonitor, MonitorStream, StreamMonitor

End = Literal["value", "low", "high"]
_ENDS: tuple[End, ...] = ("value", "low", "high")

_FEWEST = 30
"""Rows of a condition below which no stream is drawn from them."""

_THOUSAND = 1000


class StreamNumber(Table):
    """A number over simulated streams with its 95 % interval; an end named in `above` is only known to lie above."""

    value: Number
    low: Number
    high: Number
    above: tuple[End, ...] = ()
    streams: int
    reason: str | None = None

    @classmethod
    def of(cls, found: Estimate, cap: float = np.nan, scale: float = 1.0) -> "StreamNumber":
        """The table entry of an estimate; what is infinite stands at `cap`."""
        above = tuple(end for end in _ENDS if np.isposinf(getattr(found, end)))
        ends = {end: cap if end in above else scale * getattr(found, end) for end in _ENDS}
        return cls(**ends, above=above, streams=found.n, reason=found.reason)


class ConditionDelay(Table):
    """What a monitor makes of one change, `images` rows of which were drawn from.

    `found`: the share of streams in which an alarm began after the change and before the stream's end, of those that
    were not in alarm at the change; `in_alarm_before` were. `median` and `late`: the delay in images, the one at which
    the alarm begins counted, that half and nine in ten of these streams keep to; never found is longer than the stream.
    `in_alarm_at_end`: the share of all streams whose last window lies above.
    """

    condition: str
    images: int
    in_alarm_before: int
    found: StreamNumber
    median: StreamNumber
    late: StreamNumber
    in_alarm_at_end: StreamNumber


class MonitorRow(Table):
    """One monitor: what it does before a change, and after each.

    `memory` is null where the threshold stays. `false_alarms` begin on clean images, for every 1,000 of them that end a
    full window; `above` is the share of these windows above the threshold, which `budget` aims at. The first of the
    `changes` is none, more clean images: what is found there is found by chance.
    """

    window: int
    memory: int | None
    threshold: float
    false_alarms: StreamNumber
    above: StreamNumber
    changes: tuple[ConditionDelay, ...]


class StreamAlarms(Table):
    """Monitors of several windows, with a threshold that stays and one that follows, on the same streams.

    `tune` clean images fitted the thresholds, `clean` others were drawn from before the change. Intervals are over
    streams: of the drawing, not of the images that there are to draw from. `skipped` names conditions and why.
    """

    run: str
    signal: str
    statistic: str
    budget: float
    seed: int
    tune: int
    clean: int
    streams: int
    before: int
    after: int
    monitors: tuple[MonitorRow, ...]
    skipped: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class StreamPlan:
    """Streams of `before` clean images and then `after` changed ones, and the monitors that watch them.

    `signal` and `conditions`: by default the signal of the run's policy, and all that are attacked, corrupted or of
    unknown classes. Each window is watched with a threshold that stays and with one of this `memory`.
    """

    signal: str | None = None
    conditions: tuple[str, ...] = ()
    windows: tuple[int, ...] = (50,)
    statistic: str = "mean"
    budget: float = 0.01
    memory: int = 500
    streams: int = 200
    before: int = 1000
    after: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        for name, count, least in (("streams", self.streams, 10), ("after", self.after, 1)):
            if count < least:
                raise InputError(f"`{name}` must be at least {least}; got {count}.")
        if self.before < max(self.windows):
            raise InputError(
                f"`before` must hold a window, {max(self.windows)} images, or there is no alarm before the change to "
                f"count; got {self.before}."
            )

    @cached_property
    def monitors(self) -> tuple[StreamMonitor, ...]:
        """Each window with a threshold that stays, then with one that follows."""
        return tuple(
            StreamMonitor(window=window, memory=memory, statistic=self.statistic, budget=self.budget)
            for window in self.windows
            for memory in (None, self.memory)
        )


def stream_alarms(run: Run, plan: StreamPlan) -> StreamAlarms:
    """Every monitor on the same streams; the labels of the rows are not read.

    Raises:
        InputError: a signal or a condition that the run does not have, or too few images.
    """
    if not run.has_test_rows:
        raise InputError(
            f"{run.path} has no test images: thresholds are fitted on split tune and streams are drawn from split "
            "test, which a run has from 600 images on. Audit more images."
        )
    signal = _signal(run, plan.signal)
    tune, clean = score(run.rows("clean", "tune"), signal), score(run.rows("clean", "test"), signal)
    changed, skipped = _changes(run, plan.conditions, signal)
    rows = []
    for monitor in plan.monitors:
        fitted = monitor.fit(tune, plan.seed)
        rows.append(_Simulation(fitted, plan, clean).row({"clean": clean, **changed}))
    return StreamAlarms(
        run=str(run.path),
        signal=signal,
        tune=int(np.isfinite(tune).sum()),
        clean=len(clean),
        monitors=tuple(rows),
        skipped=skipped,
        **{name: getattr(plan, name) for name in ("statistic", "budget", "seed", "streams", "before", "after")},
    )


def _signal(run: Run, name: str | None) -> str:
    """The signal by name, or that of the run's policy, or the baseline."""
    if name is None:
        chosen = run.chosen_policy
        return run.baseline if chosen is None else run.policies[chosen].signals[0]
    if name not in run.signals:
        raise unknown("signal", name, run.signals)
    return name


def _changes(run: Run, names: Sequence[str], signal: str) -> tuple[dict[str, Floats], dict[str, str]]:
    """The scores that streams are drawn from after the change, by condition, and why some conditions have none."""
    entries = (*run.conditions("attack"), *run.conditions("corruption"), *run.conditions("unknown"))
    possible = {entry["name"]: entry for entry in entries}
    for name in names:
        if name not in possible:
            raise unknown("condition", name, possible)
    found, skipped = dict[str, Floats](), dict[str, str]()
    for name in names or possible:
        scores = _scores(run, possible[name], signal)
        if len(scores) < _FEWEST:
            skipped[name] = f"{len(scores)} test images with a score, at least {_FEWEST} are needed"
        else:
            found[name] = scores
    if not found:
        why = "; ".join(f"{name}: {reason}" for name, reason in skipped.items()) or "it has clean images alone"
        raise InputError(f"{run.path} has no change to draw a stream from: {why}. Audit with attacks or corruptions.")
    return found, skipped


def _scores(run: Run, entry: Mapping[str, Any], signal: str) -> Floats:
    rows = run.rows(entry["name"]) if entry["kind"] == "unknown" else run.rows(entry["name"], "test")
    return score(rows, signal) if f"signal.{signal}" in rows.columns else np.empty(0)


@dataclass(frozen=True, eq=False)
class _Simulation:
    """One monitor and the streams it watches; the clean part of a stream is the same for every change."""

    fitted: FittedMonitor
    plan: StreamPlan
    clean: Floats

    def row(self, changed: Mapping[str, Floats]) -> MonitorRow:
        """What the monitor does before a change and after each."""
        monitor, full = self.fitted.monitor, self.plan.before - self.fitted.monitor.window + 1
        begun, counts, above = [], [], []
        for scores in self._drawn(self.clean, self.plan.before, part=0):
            stream, steps = self.fitted.advance(self.fitted.start(), scores)
            begun.append(stream)
            counts.append(int(steps.begins.sum()))
            above.append(float(steps.above.sum()) / full)
        return MonitorRow(
            window=monitor.window,
            memory=monitor.memory,
            threshold=self.fitted.threshold,
            false_alarms=StreamNumber.of(mean_interval(np.asarray(counts)), scale=_THOUSAND / full),
            above=StreamNumber.of(mean_interval(np.asarray(above))),
            changes=tuple(self._change(name, scores, begun) for name, scores in changed.items()),
        )

    def _change(self, name: str, rows: Floats, begun: Sequence[MonitorStream]) -> ConditionDelay:
        quiet = np.array([not stream.in_alarm for stream in begun])
        delays, last = np.full(len(begun), np.inf), np.zeros(len(begun), bool)
        for at, (stream, scores) in enumerate(zip(begun, self._drawn(rows, self.plan.after, part=1), strict=True)):
            end, steps = self.fitted.advance(stream, scores)
            last[at] = end.in_alarm
            if len(steps.alarms):
                delays[at] = steps.alarms[0] - self.plan.before + 1
        return ConditionDelay(
            condition=name,
            images=len(rows),
            in_alarm_before=int((~quiet).sum()),
            **_delays(delays[quiet], self.plan.after),
            in_alarm_at_end=StreamNumber.of(proportion(last)),
        )

    def _drawn(self, rows: Floats, images: int, part: int) -> Iterator[Floats]:
        """The scores of some images of each stream, drawn with replacement."""
        for stream in range(self.plan.streams):
            draw = np.random.default_rng([self.plan.seed, stream, part])
            yield rows[draw.integers(len(rows), size=images)]


def _delays(delays: Floats, longest: int) -> dict[str, StreamNumber]:
    return {
        "found": StreamNumber.of(proportion(np.isfinite(delays))),
        "median": StreamNumber.of(quantile(delays, 0.5), cap=longest),
        "late": StreamNumber.of(quantile(delays, 0.9), cap=longest),
    }
