"""Run folders that say where a model looked, made up number by number, and slow obvious numbers from them."""

import math
from pathlib import Path

import numpy as np
import polars as pl

from demur.files import write_json
from demur.records import frame, write_shard

CLASSES = ("cat", "dog", "eel", "fox")
ROWS = 120
RAY = "ray(norm='l2')"
FMN = "fmn(norm='l2')"
GRAD_CAM, SMOOTH = "grad_cam", "smooth_grad(n=10)"
KNOW_NOTHING = ("uniform", "centred", "shuffled")
MEASURES = {"area_50": 1, "gini": -1, "dispersion": 1}
LOCALISATIONS = ("pointing", "energy")
CAP = 2.0


def named(n):
    """The ids of the first so many images."""
    return [f"{k:03d}" for k in range(n)]


def images(*, grouped=False):
    """Labels, answers and uncertainty of every image: many cats, some dogs, five eels, no fox."""
    draw = np.random.default_rng(11)
    label = draw.permutation(np.repeat([0, 1, 2], [75, 40, 5]))
    predicted = np.where(draw.uniform(size=ROWS) < 0.2, (label + 1) % 3, label)
    return {
        "sample_id": named(ROWS),
        "split": ["certify" if k % 2 else "test" for k in range(ROWS)],
        "label": label.tolist(),
        "group": [f"lot {k // 4}" if k % 7 else None for k in range(ROWS)] if grouped else [None] * ROWS,
        "predicted": predicted.tolist(),
        "uncertainty": (0.3 * (predicted != label) + draw.uniform(0, 0.6, ROWS)).tolist(),
    }


class Maker:
    """Writes conditions of the same images, each on some of them in an order of its own."""

    def __init__(self, out: Path, *, grouped=False):
        self.out, self.images, self.draw = out, images(grouped=grouped), np.random.default_rng(5)
        self.entries, self.shards = [], []
        self.wrong = np.array(self.images["predicted"]) != np.array(self.images["label"])

    def some(self, n):
        """The first so many images, shuffled."""
        return self.draw.permutation(n)

    def add(self, name, kind, rows, columns, family=None, **facts):
        own = {
            key: [self.images[key][k] for k in rows] for key in ("sample_id", "split", "label", "group", "predicted")
        }
        base = {"condition": [name] * len(rows), "error": [None] * len(rows), **own}
        shard = f"c{len(self.entries):03d}-s0000"
        signals = pl.DataFrame({key: value for key, value in columns.items() if key.startswith("signal.")})
        rest = {key: value for key, value in columns.items() if not key.startswith("signal.")}
        write_shard(self.out, shard, frame(base | rest, pl.DataFrame(), signals))
        self.shards.append({"shard": shard, "condition": name, "rows": len(rows), "sha256": ""})
        usual = {"keep": "first", "target": None, "norm": None, "unlimited": False, "severity": 0.0, "sentence": name}
        known = {"name": name, "family": family or name.partition("(")[0], "kind": kind, "rows": len(rows)}
        self.entries.append(usual | known | facts)

    def clean(self):
        self.add("clean", "clean", range(ROWS), {"signal.msp": self.images["uncertainty"]})

    def search(self, name, n, smallest, kind="epsilon", unknown=(), **facts):
        """`smallest` of each image by number: infinite where none was found up to the cap."""
        rows = self.some(n)
        sizes = [0.0 if self.wrong[k] else smallest[k] for k in rows]
        columns = {
            "epsilon.minimal": [None if k in unknown or math.isinf(s) else s for k, s in zip(rows, sizes, strict=True)],
            "epsilon.censored": [None if k in unknown else math.isinf(s) for k, s in zip(rows, sizes, strict=True)],
        }
        usual = {"keep": "nearest", "norm": "l2", "unlimited": True}
        if kind == "epsilon":
            usual |= {"cap": CAP, "part": "whole", "region": None}
            usual["resolution"] = "16 steps" if facts.get("family") == "ray" else None
        self.add(name, kind, rows, columns, **(usual | facts))

    def map(self, name, n, marked, empty, others=()):
        rows = self.some(n)
        columns = {f"explain.{side}": [size] * n for side, size in (("height", 4), ("width", 6))}
        columns["explain.empty"] = [float(k in empty) for k in rows]
        unmarked = {*empty, *(set(range(ROWS)) - set(marked))}
        for prefix in ("", *(f"{kind}." for kind in KNOW_NOTHING)):
            for measure in MEASURES:
                columns[f"explain.{prefix}{measure}"] = self._numbers(rows, set() if prefix else empty)
            for way in (*LOCALISATIONS, "covered"):
                columns[f"explain.{prefix}{way}"] = self._numbers(rows, set() if prefix else unmarked)
        for other in others:
            for kind in ("agreement", "overlap"):
                columns[f"explain.{kind}.{other}"] = self._numbers(rows, empty)
        measures = [
            {"name": m, "sentence": f"{m} in words", "uncertainty": uncertainty} for m, uncertainty in MEASURES.items()
        ]
        ways = [{"name": way, "sentence": f"{way} in words"} for way in LOCALISATIONS]
        self.add(name, "map", rows, columns, map=name, measures=measures, localisations=ways)

    def occlude(self, part, by, region, n, unknown=()):
        rows = self.some(n)
        answers = np.where(self.draw.uniform(size=n) < 0.3, 2, [self.images["predicted"][k] for k in rows])
        fall = [None if k in unknown else float(self.draw.uniform(-0.1, 0.8)) for k in rows]
        name = f"occlude(by={by!r}, part={part!r}, region={region!r})"
        columns = {
            "predicted": answers.tolist(),
            "explain.fall": fall,
            "explain.hidden": [None if f is None else 0.4 + f / 4 for f in fall],
        }
        self.add(name, "intervention", rows, columns, part=part, by=by, region=region)

    def _numbers(self, rows, without):
        return [None if k in without else float(self.draw.uniform(0, 1)) for k in rows]

    def finish(self, **facts):
        splits = {split: self.images["split"].count(split) for split in ("fit", "tune", "certify", "test")}
        run = {"classes": list(CLASSES), "splits": splits, "attacked": 0, "signals": [], "conditions": self.entries}
        write_json(self.out / "run.json", run)
        write_json(self.out / "manifest.json", self.shards)
        for name, content in facts.items():
            write_json(self.out / "facts" / f"{name}.json", content)
        return self.out


def sizes(seed, censored=0.2):
    """Smallest changes of every image, some never found."""
    draw = np.random.default_rng(seed)
    return np.where(draw.uniform(size=ROWS) < censored, np.inf, draw.lognormal(-1, 0.8, ROWS).clip(0.01, CAP))


def looked(out, *, grouped=False):
    """Two maps, searches of the whole, the object and the background as a map and as marks have them, parts hidden."""
    maker = Maker(out, grouped=grouped)
    unmarked = set(range(0, ROWS, 5))
    maker.clean()
    maker.search(RAY, 110, sizes(1), family="ray")
    maker.search(FMN, 110, 0.9 * sizes(1), cap=None, part=None)
    maker.map(GRAD_CAM, 100, set(range(ROWS)) - unmarked, empty={3, 14, 15, 92})
    maker.map(SMOOTH, 100, set(range(ROWS)) - unmarked, empty=set(), others=[GRAD_CAM])
    whole = sizes(2)
    maker.search("ray(norm='l2', part='whole', region='grad_cam')", 100, whole, family="ray", region=GRAD_CAM)
    near = {GRAD_CAM: 0.7, "marked": 0.7, "centred": 1.5}
    for region, unknown, seed in ((GRAD_CAM, {3, 14, 15, 92}, 3), ("marked", unmarked, 4), ("centred", set(), 5)):
        for part, factor in (("object", near[region]), ("background", 1.5)):
            found = np.minimum(factor * whole * np.random.default_rng(seed).lognormal(0, 0.5, ROWS), 9)
            nowhere = np.isinf(whole) | (np.arange(ROWS) % 9 == seed)
            found = np.where((found > CAP) | nowhere, np.inf, found)
            name = f"ray(norm='l2', part={part!r}, region={region!r})"
            maker.search(name, 100, found, family="ray", part=part, region=region, unknown=unknown)
        for by in ("blur", "mean"):
            for part in ("object", "background"):
                maker.occlude(part, by, region, 100, unknown)
    correlation = [0.1, 0.2, None, -0.1, 0.3, 0.15, 0.05]
    return maker.finish(
        sanity=[{"map": GRAD_CAM, "sample_ids": named(7), "correlation": correlation, "limit": 0.5}],
    )


def sides(rows_of, region):
    """Smallest changes (object, background, label, group, id) of the images that were right and have both."""
    found = {}
    for part in ("object", "background"):
        for row in rows_of(f"ray(norm='l2', part={part!r}, region={region!r})"):
            found.setdefault(row["sample_id"], {"row": row})[part] = change(row)
    return {name: both for name, both in found.items() if all(both[p] is not None and both[p] > 0 for p in _PARTS)}


_PARTS = ("object", "background")


def change(row):
    """The smallest change of a row: None where it was not looked for."""
    if row["epsilon.censored"] is None:
        return None
    return math.inf if row["epsilon.censored"] else row["epsilon.minimal"]


def apart(both):
    """Background − object, 0 where neither was found."""
    return 0.0 if both["object"] == both["background"] else both["background"] - both["object"]
