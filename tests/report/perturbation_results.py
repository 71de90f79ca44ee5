"""Plausible results on how far and where: searches, maps, regions, trust and Lipschitz constants."""

import math
from functools import cache

import numpy as np

from demur.analysis.attribution.trust_components import TrustComponents, TrustRow
from demur.analysis.robustness.censored_quantiles import CensoredQuantile
from demur.analysis.robustness.lipschitz_tables import LayerNorm, Lipschitz
from demur.analysis.robustness.minimal_perturbation import ClassConfusion, ClassSearch, MinimalPerturbation, Ranking
from demur.analysis.robustness.perturbation_curves import AttackComparison, Confidence
from tests.report.attribution_results import where
from tests.report.detail_tables import CLASSES as NAMES
from tests.report.simulated_scores import near, share, undefined

CAP = 32 / 255
_KINDS = (*NAMES, *(f"{name} with a rather long name" for name in NAMES), *(f"n{at:08d}" for at in range(20)))
MANY = tuple(f"{adjective} {kind}" for adjective in ("red", "old", "wet", "tall", "odd") for kind in _KINDS)
FEW = "fewer than 6 images: no 95 % interval"


def reach(values, quantile=0.5, cap=CAP, unit="image"):
    """A quantile of the values with its order-statistic interval, cut off at the cap."""
    values = np.sort(np.minimum(values, cap * 2))
    n = len(values)
    at = min(n - 1, int(quantile * n))
    half = 0.98 * math.sqrt(n) * 2 * math.sqrt(quantile * (1 - quantile))
    ends = {"value": values[at], "low": values[max(0, int(at - half))], "high": values[min(n - 1, int(at + half) + 1)]}
    above = tuple(name for name, end in ends.items() if end > cap)
    ends = {name: float(min(end, cap)) for name, end in ends.items()}
    if n < 6:
        ends |= {"low": math.nan, "high": math.nan}
    return CensoredQuantile(**ends, above=above if n >= 6 else above[:1] * ("value" in above), n=n, unit=unit,
                 reason=None if n >= 6 else FEW)  # fmt: skip


def no_end(low=0.01):
    """A median of a search without a cap that most images stood up to."""
    return CensoredQuantile(
        value=math.nan, low=low, high=math.nan, above=("value", "high"), n=50, reason="most never flipped"
    )


def no_reach(reason="no images"):
    return CensoredQuantile(value=math.nan, low=math.nan, high=math.nan, n=0, reason=reason)


@cache
def distances(classes, seed=0, per_class=30, scale=1.0):
    """Smallest changes by class, from very sensitive to mostly censored, a few wrong already."""
    rng = np.random.default_rng(seed)
    found = {}
    for at, name in enumerate(classes):
        middle = 0.0015 * 70 ** (((at * 7) % len(classes)) / len(classes))
        values = scale * middle * np.exp(rng.normal(0, 0.9, per_class if at != 1 else 4))
        values[rng.random(len(values)) < 0.08] = 0
        found[name] = values
    return found


def search(condition="ray", classes=NAMES, norm="linf", unit="image", seed=0, cap=CAP, **changes):
    found = distances(classes, seed, scale=1.0 if norm == "linf" else cap / CAP)
    every = np.concatenate(list(found.values()))
    medians = sorted((np.median(values), name) for name, values in found.items() if len(values) >= 6)
    rank = {name: at for at, (_, name) in enumerate(medians, 1)}
    flipped = every[(every > 0) & (every <= cap)]
    facts = {
        "condition": condition,
        "sentence": f"The sign of the gradient, followed in {'L∞' if norm == 'linf' else 'L2'} to the first flip",
        "norm": norm,
        "cap": cap,
        "n": len(every),
        "wrong": int((every == 0).sum()),
        "censored": int((every > cap).sum()),
        "lower": reach(every, 0.25, cap, unit),
        "median": reach(every, 0.5, cap, unit),
        "upper": reach(every, 0.75, cap, unit),
        "right_median": reach(every[every > 0], 0.5, cap, unit),
        "minimum": float(flipped.min()),
        "maximum": float(flipped.max()),
        "scan": 9.4,
        "refinement": 5.2,
        "per_class": tuple(one_class(name, values, cap, rank.get(name), unit) for name, values in found.items()),
        "ranking": ranking(len(rank), len(every)),
        "confusions": confusions(classes),
        "curve": confidence(cap),
        "comparisons": (comparison(every, cap, norm, unit),),
        "resolution": "16 geometric steps to the cap: a first flip between two steps that flips back is not seen",
        "ecdf": ecdf(every, cap),
    }
    return MinimalPerturbation(**(facts | changes))


def one_class(name, values, cap, rank, unit):
    return ClassSearch(
        name=name,
        n=len(values),
        wrong=int((values == 0).sum()),
        censored=int((values > cap).sum()),
        lower=reach(values, 0.25, cap, unit),
        median=reach(values, 0.5, cap, unit),
        upper=reach(values, 0.75, cap, unit),
        rank=rank,
        right_median=reach(values[values > 0], 0.5, cap, unit),
    )


def ranking(classes, n, **changes):
    facts = {
        "classes": classes,
        "n": n,
        "statistic": 144.2,
        "p_value": 0.0002,
        "halves": near(0.82, 0.07, classes),
        "sentence": "The order of the classes is more than noise.",
    }
    return Ranking(**(facts | changes))


def confusions(classes):
    pairs = [(classes[at], classes[(at + step) % len(classes)]) for at in range(len(classes)) for step in (1, 3)]
    return tuple(
        ClassConfusion(label=label, prediction=becomes, n=max(1, 24 - at // 2), median=0.002 + 0.0003 * at)
        for at, (label, becomes) in enumerate(pairs)
    )


def confidence(cap):
    sizes = [0.0, *np.geomspace(cap / 2**12, cap, 17)]
    rows = []
    for size in sizes:
        mean = 0.9 / (1 + (size / (cap / 8)) ** 1.4) + 0.02
        rows.append(
            Confidence(
                eps=size,
                mean=near(mean, 0.04, 64),
                lower=max(0.0, mean - 0.25),
                upper=min(1.0, mean + 0.08),
                accuracy=share(min(0.95, mean * 1.02), 64),
            )
        )
    return tuple(rows)


def comparison(every, cap, norm, unit):
    found = every / 1.9
    return AttackComparison(
        condition=f"fmn(norm='{norm}')",
        sentence="FMN, the smallest change that flips the answer",
        n=len(every),
        median=reach(found, 0.5, cap, unit),
        ratio=near(1.9, 0.1, len(every)),
        share_not_larger=share(0.97, len(every)),
        ecdf=ecdf(found, cap),
    )


def ecdf(values, cap):
    sizes = [0.0, *np.quantile(values[(values > 0) & (values <= cap)], np.linspace(0, 1, 60)), cap]
    return tuple((float(size), float((values > size).mean())) for size in sizes)


def trust(classes=NAMES, **changes):
    found = search(classes=classes)
    k = sum(row.rank is not None for row in found.per_class)
    rows = tuple(
        TrustRow(
            name=row.name,
            n=row.n,
            epsilon=row.median,
            epsilon_rank=k + 1 - row.rank if row.rank else None,
            difference=near(0.4 * math.sin(at) + 0.1, 0.2, row.n) if row.rank else undefined("fewer than 6 images", 4),
            difference_rank=1 + (at * 3) % k if row.rank else None,
            compactness=near(0.12 + 0.1 * ((at * 3) % k) / k, 0.02, row.n),
            compactness_rank=1 + (at * 3) % k,
        )
        for at, row in enumerate(found.per_class)
    )
    facts = {
        "epsilon_of": "ray",
        "epsilon_norm": "linf",
        "difference_of": "marked",
        "difference_norm": "l2",
        "compactness_of": "grad_cam",
        "model": TrustRow(
            name="all classes", n=found.n, epsilon=found.median, epsilon_rank=None, difference=near(0.41, 0.06, 460),
            difference_rank=None, compactness=near(0.17, 0.02, 500), compactness_rank=None,
        ),
        "classes": rows,
    }  # fmt: skip
    return TrustComponents(**(facts | changes))


def lipschitz(layers=7, **changes):
    facts = {
        "layers": tuple(
            LayerNorm(name=f"block.{at}", layers=(f"block.{at}.conv", f"block.{at}.norm"), kind="convolution",
                      norm=1.4 + 0.3 * at, iterations=40 + at, converged=at != 3)
            for at in range(layers)
        ),
        "upper": 183_000.0,
        "reason": None,
        "lower": 41.2,
        "median": near(12.6, 1.4, 64),
        "images": 64,
        "certified_radius": 0.000021,
        "minimal_perturbation": 0.31,
        "search_name": "fmn(norm='l2')",
        "sentence": "The bound is 4,440 times the steepest slope seen.",
    }  # fmt: skip
    return Lipschitz(**(facts | changes))


def far(classes=NAMES, unit="image"):
    """Everything this wing of the report can show."""
    return {
        "epsilon": (
            search(classes=classes, unit=unit),
            search("ray(direction='gradient', norm='l2')", classes, "l2", unit, seed=3, cap=8.0),
        ),
        "attribution": where(classes),
        "trust": trust(classes),
        "lipschitz": lipschitz(),
    }
