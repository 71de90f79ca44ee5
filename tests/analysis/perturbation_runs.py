"""A finished run without an audit: searches for the smallest change, written down as one that had been run."""

import json

import numpy as np
import polars as pl

from demur.files import write_json
from demur.records import frame, write_shard

CLASSES = ("ant", "bee", "cat", "dog", "elk")
RAY, L2, FMN, DDN = "ray", "ray(norm='l2')", "fmn(norm='l2')", "ddn(steps=20)"
OBJECT = "ray(norm='l2', part='object', region='grad_cam')"
CAP = 0.25
ENSEMBLE = "ensemble(eps=0.1, preset='quick')"


def entry(name, kind, rows, **more):
    facts = {"name": name, "family": name.split("(")[0], "kind": kind, "severity": 0.0, "keep": None, "target": None}
    facts |= {"norm": "none", "unlimited": False, "sentence": f"What {name} says", "rows": rows}
    if kind == "epsilon":
        facts |= {"keep": "nearest", "unlimited": True, "cap": None, "resolution": None, "part": None, "region": None}
    if kind == "attack":
        facts |= {"attack": {"external": False, "ascent": None, "series": None, "stages": []}}
    return facts | more


def written(folder, tables, entries, **facts):
    """A run folder of these tables, each in two shards."""
    shards = []
    for at, one in enumerate(entries):
        table = tables[one["name"]]
        for part, rows in enumerate((table[: len(table) // 2], table[len(table) // 2 :])):
            name = f"c{at:03}-s{part:04}"
            sha = write_shard(folder, name, rows)
            shards.append({"shard": name, "condition": one["name"], "rows": len(rows), "sha256": sha})
    n = len(tables["clean"])
    known = {"classes": list(CLASSES), "splits": {"test": n}, "attacked": n, "signals": [], "conditions": entries}
    known |= {"groups": None, "model": "zoo:one", "model_sha256": "m1", "data": "digits", "data_sha256": "d1"}
    known |= {"plan_sha256": "p1", "input_shape": [3, 8, 8]}
    known |= {"parameters": 9, "duplicates": 0, "seed": 0, "versions": {}, "flags": []} | facts
    write_json(folder / "run.json", known)
    write_json(folder / "manifest.json", shards)
    write_json(folder / "facts" / "preflight.json", [])
    write_json(folder / "facts" / "policies.json", [])
    (folder / "plan.toml").write_text("version = 1\n")
    return folder


def rows(ids, labels, changes, condition, *, predicted=None, groups=None, norm="linf", **more):
    """Records of a search: 0 was wrong already, infinite never flipped."""
    changes = np.asarray(changes, np.float64)
    turned = (labels + 1) % len(CLASSES) if predicted is None else predicted
    censored = np.isinf(changes)
    columns = {
        "sample_id": list(ids),
        "split": ["test"] * len(ids),
        "label": labels.tolist(),
        "condition": [condition] * len(ids),
        "norm": [norm] * len(ids),
        "predicted": np.where(censored, labels, turned).tolist(),
        "epsilon.minimal": [None if np.isinf(c) else float(c) for c in changes],
        "epsilon.censored": censored.tolist(),
        "forwards": [5] * len(ids),
        "backwards": [1] * len(ids),
    }
    if groups is not None:
        columns["group"] = [f"g{g}" for g in groups]
    return frame(columns | {name: list(values) for name, values in more.items()}, pl.DataFrame(), pl.DataFrame())


def clean(ids, labels, right, groups=None):
    predicted = np.where(right, labels, (labels + 2) % len(CLASSES))
    table = rows(ids, labels, np.zeros(len(ids)), "clean", predicted=predicted, groups=groups, norm="none")
    return table.with_columns(
        pl.lit(None, pl.Float32).alias("epsilon.minimal"), pl.lit(None, pl.Boolean).alias("epsilon.censored")
    )


def changes_of(rng, labels, right, scale=1.0, cap=CAP):
    """Larger for later classes, above the cap for some."""
    found = scale * (0.02 + 0.03 * labels) * np.exp(rng.normal(0, 0.6, len(labels)))
    return np.where(right, np.where(found > cap, np.inf, found.astype(np.float32)), 0)


def run(folder, *, n=160, scale=1.0, seed=0, groups=None, accuracy=0.85, facts=None, few=3, first=0):
    """A run with rays, attacks, a region, and an ensemble; the last class has `few` images.

    Half of the images are attacked, from the one numbered `first` on.
    """
    images = np.random.default_rng(99)  # the same images whatever the model
    labels = np.where(np.arange(n) < few, 4, np.arange(n) % 4)
    ids = [f"i{k:04}" for k in images.permutation(n)]
    rng = np.random.default_rng(seed)
    right = rng.random(n) < accuracy
    becomes = np.where(rng.random(n) < 0.7, (labels + 1) % 5, (labels + 2) % 5)
    along = changes_of(rng, labels, right, scale)
    strong = np.where(np.isinf(along), 0.3, along * rng.uniform(0.3, 1.05, n))
    strong[np.flatnonzero(right)[0]] = np.inf
    some, staged = slice(first, first + n // 2), {"stage": ["fmn"] * (n // 2), "passes.fmn": [7] * (n // 2)}
    their = None if groups is None else groups[some]
    spent = {"spent.scan": rng.integers(3, 9, n), "spent.refine": rng.integers(1, 8, n)}
    tables = {
        "clean": clean(ids, labels, right, groups),
        RAY: rows(ids, labels, along, RAY, predicted=becomes, groups=groups, **spent),
        L2: rows(ids, labels, 8 * along, L2, predicted=becomes, groups=groups, norm="l2", **spent),
        OBJECT: rows(ids, labels, 8 * along, OBJECT, predicted=becomes, groups=groups, norm="l2", **spent),
        FMN: rows(ids, labels, 8 * strong, FMN, groups=groups, norm="l2"),
        DDN: rows(ids[some], labels[some], 7 * strong[some], DDN, groups=their, norm="l2"),
        ENSEMBLE: rows(ids[some], labels[some], strong[some], ENSEMBLE, groups=their, **staged),
    }
    scan = {"cap": CAP, "resolution": "sixteen steps", "part": "whole"}
    entries = [
        entry("clean", "clean", n),
        entry(RAY, "epsilon", n, norm="linf", **scan),
        entry(L2, "epsilon", n, norm="l2", **scan | {"cap": 8 * CAP}),
        entry(OBJECT, "epsilon", n, norm="l2", **scan | {"cap": 8 * CAP, "part": "object", "region": "grad_cam"}),
        entry(FMN, "epsilon", n, norm="l2"),
        entry(DDN, "attack", n // 2, norm="l2", keep="nearest", unlimited=True),
        entry(ENSEMBLE, "attack", n // 2, norm="linf", keep="nearest", unlimited=True, severity=0.1),
    ]
    written(folder, tables, entries, **(facts or {}))
    follow(folder, ids[:12], labels[:12], rng)
    return folder


def follow(folder, ids, labels, rng):
    """What the audit says of images followed along the ray."""
    eps = [0.0, 0.01, 0.02, 0.04]
    confidence = np.sort(rng.random((len(ids), len(eps))), axis=1)[:, ::-1]
    found = {"condition": RAY, "eps": eps, "sample_ids": list(ids), "labels": labels.tolist()}
    found |= {"confidence": confidence.tolist(), "standing": (confidence > 0.5).tolist()}
    write_json(folder / "facts" / "curves.json", [found])


def facts_of(folder):
    return json.loads((folder / "run.json").read_text())
