"""Objects as a map sees them, beside objects as the data marks them."""

import numpy as np
import polars as pl

from demur.analysis.average import mean_of
from demur.analysis.looked import RegionAgreement
from demur.analysis.regions import Pair, pairs
from demur.analysis.run import Run, groups, share
from demur.analysis.table import Quantity
from demur.metrics.spearman import spearman
from demur.records import EXPLAIN
from demur.registry.tables import CENTRED, MARKED


def region_agreements(run: Run) -> tuple[RegionAgreement, ...]:
    """Every map that served as a region, where the data's marks did too."""
    found = {pair.region: pair for pair in pairs(run)}
    marked = found.pop(MARKED, None)
    maps = [pair for pair in found.values() if pair.region != CENTRED]
    return () if marked is None else tuple(_agreement(run, pair, marked) for pair in maps)


def _agreement(run: Run, pair: Pair, marked: Pair) -> RegionAgreement:
    """On images that were right and have both; signs are compared where neither difference is a tie."""
    theirs = pl.DataFrame({"sample_id": marked.rows["sample_id"], "theirs": marked.differences})
    ours = pair.rows.with_columns(ours=pair.differences)
    rows = ours.join(theirs, on="sample_id", maintain_order="left")
    told = rows.filter((pl.col("ours") != 0) & (pl.col("theirs") != 0))
    seen = _seen(run, pair.region).join(rows, on="sample_id", how="semi")
    return RegionAgreement(
        region=pair.region,
        n=len(rows),
        inside=mean_of(seen, f"{EXPLAIN}energy"),
        covered=mean_of(seen, f"{EXPLAIN}covered"),
        same_sign=share((np.sign(told["ours"]) == np.sign(told["theirs"])).to_numpy(), told),
        correlation=Quantity.of(spearman(rows["ours"].to_numpy(), rows["theirs"].to_numpy(), groups(rows))),
    )


def _seen(run: Run, region: str) -> pl.DataFrame:
    """What was measured of the map itself; nothing where the plan asks for it as a region only."""
    names = [entry["name"] for entry in run.conditions("map") if entry["map"] == region]
    return run.rows(names[0]) if names else run.rows("clean").clear()
