"""The records of a run as plain Python rows, and slow obvious numbers from them."""

import json
import math
from statistics import correlation

import polars as pl


def rows_of(folder, condition, split=None):
    entries = json.loads((folder / "manifest.json").read_text())
    shards = [entry["shard"] for entry in entries if entry["condition"] == condition]
    rows = [row for shard in shards for row in pl.read_parquet(folder / "records" / f"{shard}.parquet").to_dicts()]
    return [row for row in rows if row["error"] is None and split in {None, row["split"]}]


def wrong(row):
    return row["predicted"] != row["label"]


def share(flags):
    flags = list(flags)
    return sum(flags) / len(flags) if flags else math.nan


def threshold_of(folder):
    fitted = json.loads((folder / "facts" / "policies.json").read_text())
    (policy,) = (entry["policy"] for entry in fitted if "certificate" in entry.get("policy", {}))
    return policy["signal"], policy["certificate"]["threshold"]


def answered(folder, row):
    signal, threshold = threshold_of(folder)
    return row[f"signal.{signal}"] <= threshold


def auroc(positive, negative):
    pairs = [(p > n) + (p == n) / 2 for p in positive for n in negative]
    return sum(pairs) / len(pairs)


def same(found, expected):
    """A number, or its absence, as expected."""
    return math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-12) or (math.isnan(found) and math.isnan(expected))


def exact_median_ends(numbers):
    """The narrowest pair of ordered values, as far from either end, that misses the median at most 5 times in 100."""
    ordered, n = sorted(numbers), len(numbers)
    rank = max(r for r in range(n) if r == 0 or 2 * sum(math.comb(n, i) for i in range(r)) / 2**n <= 0.05)
    return (ordered[rank - 1], ordered[n - rank]) if rank else (math.nan, math.nan)


def ranked_alike(pairs):
    """Spearman's rank correlation of pairs; equal values share their middle rank."""
    ranks = [[sum(v < own for v in values) + sum(v == own for v in values) / 2 for own in values]
             for values in zip(*pairs, strict=True)]  # fmt: skip
    return correlation(*ranks)


def wilson_ends(hits, n, z=1.959964):
    """The interval of a share."""
    middle, half = (hits + z * z / 2) / (n + z * z), z * math.sqrt(hits * (n - hits) / n + z * z / 4) / (n + z * z)
    return middle - half, middle + half
