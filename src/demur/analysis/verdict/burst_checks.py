"""Whether the images come one by one, as a guarantee per image takes for granted where no groups are given."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from demur.analysis.run_folder import Run, score
from demur.analysis.verdict.verdict_tables import Check, State
from demur.metrics.rank_correlation import spearman

_ALIKE, _MOST_ALIKE = 0.15, 0.5
"""Shares of neighbours among the nearest twentieth of pairs: three times chance, and most of them."""
_LUCK = 0.01
_TOGETHER = 0.1
_SCORES = 0.2
"""The rank correlation of neighbours' scores above which a certificate per image is surely too good."""
_BASELINE = "msp"


def bursts(run: Run) -> Iterator[Check]:
    """Images, times and scores of neighbours; nothing is said where groups are given, or of earlier versions' runs.

    Images that resemble their neighbours are a warning. Where most do and the scores do too, errors come in bursts as
    well, and a guarantee per image is false.
    """
    facts = run.optional_facts("neighbours")
    if facts is None:
        return
    alike, together = _resemble(facts), facts["bursts"] > _TOGETHER * facts["images"]
    correlation = neighbour_correlation(run) if alike else math.nan
    state: State = "warn" if alike or together else "pass"
    if alike and facts["alike"] > _MOST_ALIKE * facts["pairs"] and correlation > _SCORES:
        state = "fail"
    counted, of = (facts["alike"], facts["pairs"]) if alike or not together else (facts["bursts"], facts["images"])
    yield Check(
        name="images come one by one",
        state=state,
        sentence=_sentence(facts, correlation, alike=alike, together=together),
        bears_on="guarantee",
        count=counted,
        of=of,
    )


def _resemble(facts: Mapping[str, Any]) -> bool:
    p_value = facts["p_value"]
    return p_value is not None and p_value <= _LUCK and facts["alike"] >= _ALIKE * facts["pairs"]


def neighbour_correlation(run: Run) -> float:
    """The low end of the rank correlation of msp between images and the next of their class; NaN where undefined."""
    rows = run.rows("clean")
    rows = rows.with_columns(place=pl.Series(_natural_ranks(rows["sample_id"].to_list()))).sort("label", "place")
    labels, scores = rows["label"].to_numpy(), score(rows, _BASELINE)
    same = labels[:-1] == labels[1:]
    return spearman(scores[:-1][same], scores[1:][same]).low


def _natural_ranks(names: list[str]) -> list[int]:
    """The place of each name, numbers by their value."""
    keys = [
        [(int(part), "") if at % 2 else (0, part) for at, part in enumerate(re.split("([0-9]+)", n))] for n in names
    ]
    ranks = np.empty(len(names), np.int64)
    ranks[sorted(range(len(names)), key=keys.__getitem__)] = np.arange(len(names))
    return [int(rank) for rank in ranks]


def _sentence(facts: Mapping[str, Any], correlation: float, *, alike: bool, together: bool) -> str:
    if not (alike or together):
        return "Neighbours in order of time or name that are as alike as 1 in 20 pairs of a class that lie far apart"
    seen = []
    if alike:
        scores = (
            f", and so are their scores (rank correlation above {correlation:.2f})" if correlation > _SCORES else ""
        )
        seen.append(f"neighbours in order of time or name are far more alike than others of a class{scores}")
    if together:
        seen.append(f"{facts['bursts']:,} images were taken within seconds of another")
    way_out = (
        f"The names tell of {facts['series']:,} series: ?group={facts['pattern']} makes a group of each"
        if facts["pattern"]
        else "Give groups: ?group=REGEX over paths, or a column `group`"
    )
    return f"A burst or video seems to be among the images: {'; '.join(seen)}. {way_out}"
