"""Finished runs of a plain and of hardened models, written down without an audit: attacks, poor images, a signal."""

import numpy as np
import polars as pl
from tests.analysis import perturbation_runs as made

from demur.files import write_json

FGSM, PGD = "fgsm(eps=0.1)", "pgd(eps=0.1, steps=20)"
ENSEMBLE = "ensemble(eps=0.1, preset='quick')"
NOISE = ("gaussian_noise(severity=1)", "gaussian_noise(severity=2)")
LIGHT = ("low_light(severity=1)",)
SIGNAL = {"name": "msp", "sentence": "One minus the largest probability.", "unit": "probability", "passes": 0.0}
EPS = 0.1
FAILED = {
    "name": "gradients are blunt",
    "state": "fail",
    "sentence": "Images whose gradient was of no use",
    "count": 70,
    "of": 90,
    "bears_on": "attacks",
}


def run(folder, *, n=240, seed=0, accuracy=0.9, strength=0.5, groups=None, without=(), failed=(), few=4, facts=None):
    """A run whose attacked images stand with a chance of about `strength`; half of the images are attacked.

    Mostly the ensemble finds the smallest change; on some images FGSM does and on others PGD, so that no attack alone
    is the worst case.
    The last class has `few` images. `without` names conditions that the plan does not have.
    """
    labels = np.where(np.arange(n) < few, 4, np.arange(n) % 4)
    ids = [f"i{k:04}" for k in range(n)]
    rng = np.random.default_rng(seed)
    right = rng.random(n) < accuracy
    score = pl.Series("signal.msp", np.where(right, rng.beta(1, 6, n), rng.beta(3, 3, n)).astype("float32"))
    some = slice(0, n // 2)
    least = np.where(right, EPS * np.exp(rng.normal(np.log(0.4 + 2 * strength), 0.7, n)), 0.0)[some]
    half = {"ids": ids[some], "labels": labels[some], "groups": None if groups is None else groups[some]}
    tables = {"clean": _rows("clean", ids, labels, right, groups).with_columns(score)}
    place = np.arange(n // 2)
    tables[FGSM] = _attack(FGSM, half, least * np.where(place % 7 == 3, 0.6, 1.6))
    tables[PGD] = _attack(PGD, half, least * np.where(place % 5 == 1, 0.6, 1.3))
    staged = {"stage": ["fmn"] * (n // 2), "passes.fmn": [7] * (n // 2)}
    tables[ENSEMBLE] = made.rows(**half | {"changes": least, "condition": ENSEMBLE}, **staged)
    for place, name in enumerate((*NOISE, *LIGHT)):
        poor = right & (rng.random(n) < 0.95 - 0.1 * place)
        tables[name] = _rows(name, ids, labels, poor, groups).with_columns(score)
    entries = [each for each in _entries(n) if each["name"] not in without]
    known = {"signals": [SIGNAL], "parameters": 9 + seed, "model": f"zoo:net{seed}", "model_sha256": f"m{seed}"}
    made.written(folder, {entry["name"]: tables[entry["name"]] for entry in entries}, entries, **known | (facts or {}))
    write_json(folder / "facts" / "preflight.json", list(failed))
    return folder


def _rows(name, ids, labels, right, groups, **more):
    predicted = np.where(right, labels, (labels + 2) % 5)
    rows = made.rows(ids, labels, np.zeros(len(ids)), name, predicted=predicted, groups=groups, norm="none", **more)
    return rows.with_columns(
        pl.lit(None, pl.Float32).alias("epsilon.minimal"), pl.lit(None, pl.Boolean).alias("epsilon.censored")
    )


def _attack(name, half, least):
    stands = least > EPS
    more = {"distance.linf": np.where(stands, np.nan, np.minimum(least, EPS)).astype("float32")}
    rows = _rows(name, half["ids"], half["labels"], stands, half["groups"], **more)
    return rows.with_columns(rows["distance.linf"].fill_nan(None))


def _entries(n):
    yield made.entry("clean", "clean", n)
    for name in (FGSM, PGD):
        yield made.entry(name, "attack", n // 2, norm="linf", keep="first", severity=EPS)
    yield made.entry(ENSEMBLE, "attack", n // 2, norm="linf", keep="nearest", unlimited=True, severity=EPS)
    for name in (*NOISE, *LIGHT):
        yield made.entry(name, "corruption", n, severity=float(name[-2]), keep="first")
