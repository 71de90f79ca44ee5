"""Checks of the attacks, from their records."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from demur.analysis.robustness.attack_tables import display_name, is_fooled, is_unlimited, minimal_perturbation
from demur.analysis.run_folder import Flags, Run
from demur.analysis.verdict.verdict_tables import Check, sure_level
from demur.records import wrong
from demur.registry import Call, parse

Entry: TypeAlias = Mapping[str, Any]

_ONE_STEP = "fgsm"
_MANY_STEPS = ("apgd", "bim", "mifgsm", "pgd")
_BLIND = "square"
_FOREIGN = ("art", "callable", "foolbox", "torchattacks")


def attack_checks(run: Run) -> Iterator[Check]:
    """What the records of attacks say of them; attacks towards a target are not compared with others."""
    entries = run.conditions("attack")
    if not entries:
        return
    rows = pl.concat([run.rows(entry["name"]) for entry in entries], how="diagonal")
    yield from _troubles(rows.filter(pl.col("backwards") > 0), _OF_GRADIENTS)
    yield from _troubles(rows, _OF_ALL)
    foreign = [entry["name"] for entry in entries if entry["family"] in _FOREIGN]
    if foreign:
        yield from _troubles(rows.filter(pl.col("condition").is_in(foreign)), _OF_FOREIGN)
    for entry in run.conditions("attack", "worst"):
        yield from _rises(run, entry)
    yield from _compared(run, [entry for entry in entries if entry.get("target") is None])


_OF_GRADIENTS = (
    (1, "gradients are there", "Attacked images whose gradient was zero everywhere at some step", 0.01, 0.10),
    (2, "gradients are finite", "Attacked images whose gradient was NaN or infinite at some step", 0.0, 0.01),
)
_OF_ALL = (
    (4, "attacks stay inside", "Attacked images that left their ball or the pixel range and were discarded", 0.0, 0.01),
    (
        8,
        "successes are confirmed",
        "Attacked images that fooled the model once and not when evaluated again",
        0.01,
        0.05,
    ),
)
_OF_FOREIGN = (
    (
        16,
        "attacks return what they find",
        "Images that an attack from elsewhere had fooled the model with and gave back unsolved",
        0.0,
        0.01,
    ),
    (32, "attacks do not crash", "Images on which an attack from elsewhere failed; they count as robust", 0.0, 0.01),
)


def _troubles(rows: pl.DataFrame, kinds: Sequence[tuple[int, str, str, float, float]]) -> Iterator[Check]:
    """Rows with some bit of their flags set."""
    flags = rows["flags"].fill_null(0).to_numpy()
    for bit, name, sentence, warn, fail in kinds:
        count = int((flags & bit > 0).sum())
        state = sure_level(count, len(rows), warn, fail)
        yield Check(name=name, state=state, sentence=sentence, count=count, of=len(rows))


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
    nearest = (run.rows(entry["name"]) for entry in entries if entry["keep"] == "nearest")
    staged = [rows for rows in nearest if "stage" in rows.columns]
    if staged:
        yield _blind(staged)


def _fooled(run: Run, entry: Entry) -> Flags:
    """Rows an attack fooled at any of its steps."""
    rows = run.rows(entry["name"])
    return np.asarray(rows["step"].to_numpy() >= 0) if entry["keep"] == "worst" else is_fooled(rows, entry)


def _iterated(run: Run, entries: Sequence[Entry]) -> Iterator[Check]:
    """Rows that one step fools and many do not, at the same eps and norm."""
    many: dict[tuple[float, str], list[Entry]] = {}
    for entry in entries:
        if entry["family"] in _MANY_STEPS:
            many.setdefault((entry["severity"], entry["norm"]), []).append(entry)
    single = [entry for entry in entries if entry["family"] == _ONE_STEP]
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
    """PGD at several sizes and otherwise the same."""
    alike: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry["family"] == "pgd" and entry["keep"] == "first":
            alike.setdefault(_but_eps(entry["name"]), []).append(entry)
    series = [sorted(found, key=lambda entry: entry["severity"]) for found in alike.values() if len(found) > 1]
    if not series:
        return
    right = [[int((~wrong(run.rows(entry["name"]))).sum()) for entry in by_size] for by_size in series]
    rises = sum(max(0, after - before) for counts in right for before, after in pairwise(counts))
    total = sum(len(run.rows(by_size[0]["name"])) for by_size in series)
    yield Check(
        name="more room never helps the model",
        state=sure_level(rises, total, 0.005, 0.02),
        sentence="Images that PGD loses again when it is allowed larger changes",
        count=rises,
        of=total,
    )


def _but_eps(name: str) -> str:
    call = parse(name)
    return str(Call(call.name, {field: value for field, value in call.fields.items() if field != "eps"}))


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


def _blind(staged: Sequence[pl.DataFrame]) -> Check:
    """Square is run last, so a row it broke stood against every attack that sees the gradient."""
    count = sum(int((rows["stage"] == _BLIND).sum()) for rows in staged)
    total = sum(map(len, staged))
    return Check(
        name="gradients beat guessing",
        state=sure_level(count, total, 0.002, 0.02),
        sentence="Images that fell only to Square, which sees no gradient",
        count=count,
        of=total,
    )
