"""The records of a run as plain Python rows, and slow obvious numbers from them."""

import json
import math

import polars as pl


def rows_of(folder, condition, role=None):
    entries = json.loads((folder / "manifest.json").read_text())
    shards = [entry["shard"] for entry in entries if entry["condition"] == condition]
    rows = [row for shard in shards for row in pl.read_parquet(folder / "records" / f"{shard}.parquet").to_dicts()]
    return [row for row in rows if row["error"] is None and role in {None, row["role"]}]


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
