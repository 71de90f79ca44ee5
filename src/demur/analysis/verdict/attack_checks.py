"""Checks of the attacks, from their records."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from demur.analysis.robustness.attack_tables import display_name, is_fooled
from demur.analysis.robustness.least_distances import (
    edge,
    is_unlimited,
    least_distances,
    minimal_perturbation,
    search_distances,
)
from demur.analysis.run_folder import Flags, Run
from demur.analysis.verdict.verdict_tables import Check, sure_level
from demur.metrics.binomial import clopper_pearson
from demur.records import wrong

Entry: TypeAlias = Mapping[str, Any]


def attack_checks(run: Run) -> Iterator[Check]:
    """What the records of attacks say of them; attacks towards a target are not compared with others."""
    entries = run.conditions("attack")
    if not entries:
        return
    rows = pl.concat([run.rows(entry["name"]) for entry in entries], how="diagonal")
    external = [entry["name"] for entry in entries if entry["attack"]["external"]]
    scopes = {
        "gradients": rows.filter(pl.col("backwards") > 0),
        "all": rows,
        "external": rows.filter(pl.col("condition").is_in(external)),
    }
    for flag in run.facts["flags"]:
        if flag["scope"] != "external" or external:
            yield _flagged(scopes[flag["scope"]], flag)
    for entry in run.conditions("attack", "worst"):
        yield from _rises(run, entry)
    yield from _compared(run, [entry for entry in entries if entry.get("target") is None])


def _flagged(rows: pl.DataFrame, flag: Entry) -> Check:
    """Rows with a bit of their flags set; `run.json` says what it means and how many are too many."""
    count = int((rows["flags"].fill_null(0).to_numpy() & flag["bit"] > 0).sum())
    state = sure_level(count, len(rows), flag["warn"], flag["fail"])
    return Check(name=flag["name"], state=state, sentence=flag["sentence"], count=count, of=len(rows))


def _rises(run: Run, entry: Entry) -> Iterator[Check]:
    """Losses with a ceiling have nowhere to rise on rows that are wrong already, and blind draws need not rise."""
    climbing = pl.col("loss.start").is_not_null() & (pl.col("step") != 0) & (pl.col("backwards") > 0)
    rows = run.rows(entry["name"]).filter(climbing)
    if rows.is_empty():
        return
    stuck = int((rows["loss.kept"] <= rows["loss.start"]).sum())
    yield Check(
        name="the loss rises",
        state=sure_level(stuck, len(rows), 0.05, 0.20),
        sentence=f"Images on which {display_name(entry['family'])} did not raise its loss",
        count=stuck,
        of=len(rows),
    )


def _compared(run: Run, entries: Sequence[Entry]) -> Iterator[Check]:
    """What one attack says of another."""
    yield from _iterated(run, entries)
    yield from _monotone(run, entries)
    searches = [run.rows(entry["name"]) for entry in entries if is_unlimited(entry)]
    if searches:
        yield _reachable(searches)
        yield from _outdone(run, entries)
    staged = [entry for entry in entries if entry["attack"]["stages"]]
    if staged:
        yield _blind(run, staged)


def _fooled(run: Run, entry: Entry) -> Flags:
    """Rows an attack fooled at any of its steps."""
    rows = run.rows(entry["name"])
    return np.asarray(rows["step"].to_numpy() >= 0) if entry["keep"] == "worst" else is_fooled(rows, entry)


def _iterated(run: Run, entries: Sequence[Entry]) -> Iterator[Check]:
    """Rows that one step fools and many do not, at the same eps and norm."""
    many: dict[tuple[float, str], list[Entry]] = {}
    for entry in entries:
        if entry["attack"]["ascent"] == "many steps":
            many.setdefault((entry["severity"], entry["norm"]), []).append(entry)
    single = [entry for entry in entries if entry["attack"]["ascent"] == "one step"]
    pairs = [(one, other) for one in single for other in many.get((one["severity"], one["norm"]), ())]
    if not pairs:
        return
    weaker = sum(int((_fooled(run, one) & ~_fooled(run, other)).sum()) for one, other in pairs)
    total = sum(len(run.rows(one["name"])) for one, _ in pairs)
    yield Check(
        name="many steps beat one",
        state=sure_level(weaker, total, 0.01, 0.05),
        sentence="Images that one step along the gradient fools and many steps of the same size do not",
        count=weaker,
        of=total,
    )


def _monotone(run: Run, entries: Sequence[Entry]) -> Iterator[Check]:
    """Attacks at several sizes and otherwise the same, of a kind to which a larger ball can only give more."""
    alike: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry["attack"]["series"] is not None and entry["keep"] == "first":
            alike.setdefault(entry["attack"]["series"], []).append(entry)
    series = [sorted(found, key=lambda entry: entry["severity"]) for found in alike.values() if len(found) > 1]
    if not series:
        return
    right = [[int((~wrong(run.rows(entry["name"]))).sum()) for entry in by_size] for by_size in series]
    rises = sum(max(0, after - before) for counts in right for before, after in pairwise(counts))
    total = sum(len(run.rows(by_size[0]["name"])) for by_size in series)
    names = " or ".join(sorted({display_name(by_size[0]["family"]) for by_size in series}))
    yield Check(
        name="more room never helps the model",
        state=sure_level(rises, total, 0.005, 0.02),
        sentence=f"Images that {names} loses again when it is allowed larger changes",
        count=rises,
        of=total,
    )


def _reachable(searches: Sequence[pl.DataFrame]) -> Check:
    never = sum(int(np.isinf(minimal_perturbation(rows)).sum()) for rows in searches)
    total = sum(map(len, searches))
    return Check(
        name="every image can be flipped",
        state=sure_level(never, total, 0.05, 0.20),
        sentence="Images that a search without limit found no change for",
        count=never,
        of=total,
    )


_BEHIND = 0.01


def _outdone(run: Run, entries: Sequence[Entry]) -> Iterator[Check]:
    """Whether searches for minimal perturbations find what attacks of a fixed size do, where they do so least.

    Robust accuracy is the lowest of all, so it errs at sizes alone at which only the search was run. It warns where the
    exact interval of the share, for all sizes at once, lies above one in a hundred.
    """
    for norm in dict.fromkeys(entry["norm"] for entry in entries if is_unlimited(entry)):
        sizes = sorted({entry["severity"] for entry in entries if entry["norm"] == norm and entry["severity"]})
        rows = run.rows(next(entry["name"] for entry in entries if entry["norm"] == norm))
        if not sizes or rows.is_empty():
            continue
        alone, least = search_distances(run, norm, rows), least_distances(run, norm, rows)
        size = max(sizes, key=lambda eps: int(((alone > edge(eps)) & (least <= edge(eps))).sum()))
        stand, left = int((alone > edge(size)).sum()), int((least > edge(size)).sum())
        surely = clopper_pearson(stand - left, len(rows), len(sizes)).low > _BEHIND
        yield Check(
            name="the search keeps up with the attacks",
            state="warn" if surely else "pass",
            sentence=f"Images that fall to attacks at {size:.3g} ({_NORMS.get(norm, norm)}) and stand by the search for"
            f" minimal perturbations alone: by it {stand / len(rows):.1%} stand, by all {left / len(rows):.1%}",
            count=stand - left,
            of=len(rows),
        )


_NORMS = {"linf": "L∞", "l2": "L2", "l1": "L1"}


def _blind(run: Run, staged: Sequence[Entry]) -> Check:
    """What needs no gradient is run last, so a row it broke stood against every attack that follows one."""
    count = total = 0
    blind = [stage["name"] for entry in staged for stage in entry["attack"]["stages"] if stage["blind"]]
    for entry in staged:
        rows = run.rows(entry["name"])
        if "stage" in rows.columns:  # absent where no image was attacked
            count, total = count + int(rows["stage"].is_in(blind).sum()), total + len(rows)
    names = " or ".join(dict.fromkeys(name.capitalize().replace("_", " ") for name in blind))
    return Check(
        name="gradients beat guessing",
        state=sure_level(count, total, 0.002, 0.02),
        sentence=f"Images that fell only to {names}, which sees no gradient",
        count=count,
        of=total,
    )
