"""What is read off many at once: intervals that hold for all classes, the worst of many, gates, many signals."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from common import laws
from common.laws import Size
from demur.metrics.binomial import clopper_pearson, wilson
from demur.metrics.delong import auroc_gain, gain_influence
from demur.metrics.paired import critical_value

Figures = dict[str, float]
CLASSES, IMAGES = (10, 50, 200), (10, 50)
BAR, FAIR, GOOD, BAD = 0.7, 0.75, 0.95, 0.3


def _ends(n: int, several: int, *, former: bool) -> NDArray[np.float64]:
    """(counts, 2): the ends of the interval of k of n, as gates and tables of classes have it."""
    found = [wilson(k, n) if former else clopper_pearson(k, n, several) for k in range(n + 1)]
    return np.array([(each.low, each.high) for each in found])


def class_tables(sets: int) -> Iterator[tuple[str, Figures]]:
    """All classes hold their truth at once; the interval printed with the class that looks worst holds its own."""
    generator = np.random.default_rng(0)
    for classes, n, truth in ((10, 400, 0.92), (50, 50, 0.9), (200, 10, 0.8), (200, 20, 0.92)):
        right = generator.binomial(n, truth, (sets, classes))
        found: Figures = {}
        for name, former in (("now", False), ("before", True)):
            ends = _ends(n, classes, former=former)
            inside = (ends[right, 0] <= truth) & (truth <= ends[right, 1])
            worst = ends[right.min(axis=1)]
            found |= {
                f"all hold, {name}": float(inside.all(axis=1).mean()),
                f"worst holds, {name}": float(((worst[:, 0] <= truth) & (truth <= worst[:, 1])).mean()),
            }
        yield f"{classes} classes of {n}, right {truth}", found


def gates(sets: int) -> Iterator[tuple[str, Figures]]:
    """`worst_class >= .7`: how often it fails where every class truly passes, and whether it decides where it should.

    `passes` is where all classes are right .95 of the time, `fails` where one of them is right .3 of the time.
    """
    generator = np.random.default_rng(0)
    for classes in CLASSES:
        for n in IMAGES:
            fair, good = (generator.binomial(n, truth, (sets, classes)) for truth in (FAIR, GOOD))
            bad = good.copy()
            bad[:, 0] = generator.binomial(n, BAD, sets)
            own = _ends(n, 1, former=False)[:, 0]
            found: Figures = {}
            for name, former in (("now", False), ("before", True)):
                ends = _ends(n, classes, former=former)
                low = ends[:, 0] if former else own
                found |= {
                    f"fails wrongly, {name}": float((ends[fair, 1] < BAR).any(axis=1).mean()),
                    f"fails, {name}": float((ends[bad, 1] < BAR).any(axis=1).mean()),
                    f"passes, {name}": float((low[good] >= BAR).all(axis=1).mean()),
                }
            yield f"{classes} classes of {n}", found


def many_signals(sets: int) -> Iterator[tuple[str, Figures]]:
    """Gains of ten signals that are worth no more than the baseline: all their intervals hold 0 at once."""
    for size in (Size(1000), Size(60, 10, 0.4)):
        generator, inside = np.random.default_rng(0), {"now": 0, "before": 0}
        for _ in range(sets):
            rows = laws.ranked(generator, size, 2.5)
            hidden = rows["score"]
            noisy = [hidden + 0.5 * generator.normal(size=len(hidden)) for _ in range(11)]
            against = (noisy[0], rows["wrong"], size.units)
            gains = np.array([auroc_gain(each, *against).value for each in noisy[1:]])
            influence = np.stack([gain_influence(each, *against) for each in noisy[1:]])
            spread = np.sqrt(np.square(influence).sum(axis=1))
            times = critical_value(influence, draws=1000)
            for name, reach in (("now", times), ("before", float(norm.ppf(0.975)))):
                inside[name] += bool((np.abs(gains) <= reach * spread).all())
        yield f"gains of 10 signals, {size.words}", {f"all hold, {key}": count / sets for key, count in inside.items()}
