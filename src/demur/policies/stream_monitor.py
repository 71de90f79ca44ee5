"""A window that goes along a stream of scores and raises an alarm where they are higher than clean ones would be."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from demur.errors import InputError, unknown
from demur.policies.policy import Flags, Floats

Statistic = Callable[[Floats, float], Floats]
"""Windows (windows, images) and the cut of a share → one number each."""

STATISTICS: Mapping[str, Statistic] = {
    "mean": lambda windows, _cut: windows.mean(axis=1),
    "median": lambda windows, _cut: np.median(windows, axis=1),
    "share": lambda windows, cut: (~(windows <= cut)).mean(axis=1),
}

_FEWEST = 100
"""Clean scores below which no threshold is fitted."""

_REDRAWS = 10_000


@dataclass(frozen=True, kw_only=True)
class StreamMonitor:
    """An alarm where the last `window` scores lie higher than all but a share `budget` of windows of clean scores.

    `statistic` is what is read of a window: its `mean`, its `median`, or the `share` of its scores above the quantile
    `level` of the clean ones. Without a `memory` the threshold stays where it was fitted. With one it follows the
    stream: it rises by (1 − `budget`)·σ/`memory` after a window above it and falls by `budget`·σ/`memory` after one
    below, σ being the deviation of clean windows. Whatever comes, the share of windows above then tends to `budget`,
    and so a change that lasts is forgotten: after about `memory` images in alarm for each σ.

    Nothing is guaranteed: the threshold is that of clean images drawn one by one, and a stream whose neighbours are
    alike raises more alarms. Robbins & Monro (1951), "A stochastic approximation method".
    """

    window: int = 50
    statistic: str = "mean"
    budget: float = 0.01
    level: float = 0.9
    memory: int | None = None

    def __post_init__(self) -> None:
        if self.statistic not in STATISTICS:
            raise unknown("statistic", self.statistic, STATISTICS)
        for name, count in (("window", self.window), ("memory", self.memory)):
            if count is not None and count < 1:
                raise InputError(f"`{name}` is a number of images, at least 1; got {count}.")
        for name, share in (("budget", self.budget), ("level", self.level)):
            if not 0 < share < 1:
                raise InputError(f"`{name}` must lie strictly between 0 and 1; got {share}. Write 1 % as 0.01.")

    def fit(self, scores: ArrayLike, seed: int = 0) -> "FittedMonitor":
        """The threshold of clean scores, such as those of split tune.

        Windows are drawn from the scores one image after the other, each time from the scores and what the window holds
        already: what is not known of the clean scores, because they are so many and no more, widens the spread of
        windows as it should (Rubin 1981, "The Bayesian bootstrap").

        Raises:
            InputError: there are too few finite scores, or fewer than a window holds.
        """
        clean = np.asarray(scores, np.float64)
        clean = clean[np.isfinite(clean)]
        fewest = max(_FEWEST, self.window, math.ceil(1 / self.budget))
        if len(clean) < fewest:
            raise InputError(
                f"a window of {self.window} images and a budget of {self.budget:g} need at least {fewest} clean images "
                f"with a finite score; there are {len(clean)}. Bring more, or take a shorter window or a larger budget."
            )
        cut = float(np.quantile(clean, self.level))
        found = np.sort(STATISTICS[self.statistic](_redrawn(clean, self.window, seed), cut))
        threshold = float(found[math.ceil((1 - self.budget) * len(found)) - 1])
        return FittedMonitor(monitor=self, threshold=threshold, cut=cut, spread=float(found.std()), n=len(clean))


def _redrawn(clean: Floats, window: int, seed: int) -> Floats:
    """Windows (redraws, window) of one urn each, in which every score that is drawn is put back twice."""
    draw, n = np.random.default_rng(seed), len(clean)
    rows, urn = np.arange(_REDRAWS), np.empty((window, _REDRAWS))
    for at in range(window):
        place = draw.integers(n + at, size=_REDRAWS)
        urn[at] = np.where(place < n, clean[np.minimum(place, n - 1)], urn[np.maximum(place - n, 0), rows])
    return np.ascontiguousarray(urn.T)


@dataclass(frozen=True, kw_only=True)
class FittedMonitor:
    """A monitor with its threshold: scores in, one by one or many at a time, alarms with their positions out.

    `cut` is what a score is held against for the statistic `share`, `spread` the standard deviation of clean windows,
    `n` the number of clean scores. How a stream is cut into parts changes nothing.

    >>> monitor = StreamMonitor(window=20).fit(np.arange(200) / 200)
    >>> stream = monitor.start()
    >>> stream, steps = monitor.advance(stream, [0.5] * 30 + [0.9] * 30)
    >>> steps.alarms.tolist(), stream.position, stream.in_alarm
    ([37], 60, True)
    """

    monitor: StreamMonitor
    threshold: float
    cut: float
    spread: float
    n: int

    def start(self) -> "MonitorStream":
        """A stream of which nothing has been seen."""
        return MonitorStream(position=0, tail=np.empty(0), threshold=self.threshold, in_alarm=False)

    def advance(self, stream: "MonitorStream", scores: ArrayLike) -> tuple["MonitorStream", "MonitorSteps"]:
        """Where the stream is after some more scores, and what was seen at each of them.

        Until the window is full there is no alarm. A score that is NaN counts as high.
        """
        new = np.atleast_1d(np.asarray(scores, np.float64))
        joined = np.concatenate([stream.tail, new])
        values = np.full(len(new), np.nan)
        full = max(0, len(joined) - self.monitor.window + 1)
        if full:
            windows = np.ascontiguousarray(sliding_window_view(joined, self.monitor.window))
            values[len(new) - full :] = STATISTICS[self.monitor.statistic](windows, self.cut)
        watched = np.arange(len(new)) >= len(new) - full
        thresholds, last = self._thresholds(values, watched, stream.threshold)
        above = watched & ~(values <= thresholds)
        begins = above & ~np.append(stream.in_alarm, above)[:-1]
        steps = MonitorSteps(stream.position, values, thresholds, above, begins)
        tail = joined[max(0, len(joined) - self.monitor.window + 1) :]
        in_alarm = bool(above[-1]) if len(above) else stream.in_alarm
        position = stream.position + len(new)
        return replace(stream, position=position, tail=tail, threshold=last, in_alarm=in_alarm), steps

    def _thresholds(self, values: Floats, watched: Flags, first: float) -> tuple[Floats, float]:
        """The threshold each window is held against, and the next one's."""
        if self.monitor.memory is None:
            return np.full(len(values), first), first
        found, stride = np.full(len(values), first), self.spread / self.monitor.memory
        threshold = first
        for at in np.flatnonzero(watched):
            found[at] = threshold
            threshold += stride * (float(not values[at] <= threshold) - self.monitor.budget)
        return found, threshold


@dataclass(frozen=True, eq=False, kw_only=True)
class MonitorStream:
    """Where a stream stands: images seen, the last of them that the next window holds, the threshold, the alarm."""

    position: int
    tail: Floats
    threshold: float
    in_alarm: bool


@dataclass(frozen=True, eq=False)
class MonitorSteps:
    """What was seen at each image: the statistic of the window that ends there, NaN until it is full, its threshold.

    `above`: the window lies above its threshold; `begins`: and the one before did not.
    """

    first: int
    statistic: Floats
    threshold: Floats
    above: Flags
    begins: Flags

    @property
    def alarms(self) -> NDArray[np.int64]:
        """Positions in the stream, counted from 0, of the images at which an alarm begins."""
        return self.first + np.flatnonzero(self.begins)
