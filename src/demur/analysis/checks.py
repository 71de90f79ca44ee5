"""Whether the measurement itself can be trusted.

Each check is pass, warn or fail with counts. A failed one makes the audit a failed measurement: Carlini et al. (2019),
arXiv:1902.06705, list most of those on attacks.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import polars as pl

from demur.analysis.results import Check
from demur.analysis.run import Run, wrong
from demur.analysis.standing import standing
from demur.metrics import p_value, proportion, wilson
from demur.records import read_json

State = Literal["pass", "warn", "fail"]
_FEWEST_ERRORS = 30


def checks(run: Run) -> tuple[Check, ...]:
    """Every check the run has data for, the model's first, the attacks' next, the promise's last."""
    door = [Check(**entry) for entry in read_json(run.path / "facts" / "door.json")]
    return (*door, *_data(run), *_copies(run), *_attacks(run), *_promise(run))


def _level(count: int, of: int, warn: float, fail: float) -> State:
    """Fail above one share, warn above another."""
    portion = count / of if of else 0.0
    return "fail" if portion > fail else "warn" if portion > warn else "pass"


def _data(run: Run) -> Iterator[Check]:
    rows = run.rows("clean")
    total = len(rows) + run.failed
    right = int((~wrong(rows)).sum())
    chance = 1 / len(run.classes)
    yield Check(
        name="labels fit the model",
        state="pass" if wilson(right, len(rows)).low > chance else "warn",
        sentence=f"The model is right far more often than guessing ({chance:.0%})",
        count=right,
        of=len(rows),
    )
    yield Check(
        name="readable images",
        state=_level(run.failed, total, 0, 0.05),
        sentence="Images that could not be read and were left out",
        count=run.failed,
        of=total,
    )
    errors = len(rows) - right
    yield Check(
        name="enough errors",
        state="fail" if errors == 0 else "warn" if errors < _FEWEST_ERRORS else "pass",
        sentence="Wrong answers to rank signals by; below 30 a ranking is noise",
        count=errors,
        of=len(rows),
    )


def _copies(run: Run) -> Iterator[Check]:
    """Images that serve two ends; runs of earlier versions did not look for them."""
    path = run.path / "facts" / "near_duplicates.json"
    if not path.exists():
        return
    facts = read_json(path)
    yield Check(
        name="near-duplicates stay together",
        state=_level(facts["test_images"], facts["test"], 0, 0.01),
        sentence="Test images of which another split holds a near-duplicate",
        count=facts["test_images"],
        of=facts["test"],
    )
    if facts["copies"]:
        total = sum(run.facts["roles"].values())
        yield Check(
            name="copies stay together",
            state=_level(facts["copies"], total, 0, 0.01),
            sentence="Images of which the given split puts an exact copy elsewhere",
            count=facts["copies"],
            of=total,
        )


def _attacks(run: Run) -> Iterator[Check]:
    attacks = run.conditions("attack")
    if not attacks:
        return
    rows = pl.concat([run.rows(entry["name"]) for entry in attacks])
    yield from _gradients(rows)
    for entry in run.conditions("attack", "worst"):
        yield _rises(run, entry)
    by_family: dict[str, list[Mapping[str, Any]]] = {}
    for entry in run.conditions("attack", "first"):
        by_family.setdefault(entry["family"], []).append(entry)
    if "fgsm" in by_family and "pgd" in by_family:
        yield _iterated(run, by_family["fgsm"], by_family["pgd"])
    if "pgd" in by_family:
        yield from _curve(run, sorted(by_family["pgd"], key=lambda entry: entry["severity"]))


def _gradients(rows: pl.DataFrame) -> Iterator[Check]:
    attacked = rows.filter(pl.col("backwards") > 0)
    kinds = (
        (1, "gradients are there", "Attacked images whose gradient was zero everywhere at some step", 0.01, 0.10),
        (2, "gradients are finite", "Attacked images whose gradient was NaN or infinite at some step", 0.0, 0.01),
        (
            4,
            "attacks stay inside",
            "Attacked images that left their ball or the pixel range and were discarded",
            0.0,
            0.01,
        ),
        (
            8,
            "successes are confirmed",
            "Attacked images that fooled the model once and not when looked at again",
            0.01,
            0.05,
        ),
    )
    for bit, name, sentence, warn, fail in kinds:
        count = int((attacked["flags"].to_numpy() & bit > 0).sum())
        state = _level(count, len(attacked), warn, fail)
        yield Check(name=name, state=state, sentence=sentence, count=count, of=len(attacked))


def _rises(run: Run, entry: Mapping[str, Any]) -> Check:
    rows = run.rows(entry["name"]).filter(pl.col("loss.start").is_not_null())
    stuck = int((rows["loss.kept"] <= rows["loss.start"]).sum())
    return Check(
        name="the loss rises",
        state=_level(stuck, len(rows), 0.05, 0.20),
        sentence=f"Images on which {entry['family'].upper()} did not raise its loss",
        count=stuck,
        of=len(rows),
    )


def _iterated(run: Run, single: list[Mapping[str, Any]], iterated: list[Mapping[str, Any]]) -> Check:
    """Rows that one step fools and many do not, at the same eps."""
    steps = {entry["severity"]: entry["name"] for entry in iterated}
    pairs = [(entry["name"], steps[entry["severity"]]) for entry in single if entry["severity"] in steps]
    weaker = sum(int((wrong(run.rows(one)) & ~wrong(run.rows(many))).sum()) for one, many in pairs)
    total = sum(len(run.rows(one)) for one, _ in pairs)
    return Check(
        name="many steps beat one",
        state=_level(weaker, total, 0.01, 0.05),
        sentence="Images that FGSM fools and PGD of the same size does not",
        count=weaker,
        of=total,
    )


def _curve(run: Run, by_size: list[Mapping[str, Any]]) -> Iterator[Check]:
    right = [int((~wrong(run.rows(entry["name"]))).sum()) for entry in by_size]
    total = len(run.rows(by_size[0]["name"]))
    rises = int(sum(max(0, after - before) for before, after in pairwise(right)))
    yield Check(
        name="more room never helps the model",
        state=_level(rises, total, 0.005, 0.02),
        sentence="Images that PGD loses again when it is allowed larger changes",
        count=rises,
        of=total,
    )
    beaten = proportion(np.arange(total) < right[-1]).value <= 1 / len(run.classes)
    said = "falls to" if beaten else "has not fallen to"
    yield Check(
        name="large changes break the model",
        state="pass" if beaten else "warn",
        sentence=f"At the largest size tried accuracy {said} guessing; images still right",
        count=right[-1],
        of=total,
    )


def _promise(run: Run) -> Iterator[Check]:
    if run.guard is None:
        return
    test = standing(run.rows("clean", "test"))
    accepted = test.filter(run.answered(run.guard, test))
    of_group = ", one image of each group" if run.guard.certificate.unit == "group" else ""
    errors, risk = int(wrong(accepted).sum()), run.guard.certificate.risk
    broken = bool(len(accepted)) and p_value(len(accepted) - errors, len(accepted), 1 - risk) < 0.01
    yield Check(
        name="unseen images confirm the promise",
        state="fail" if broken else "warn" if errors > risk * len(accepted) else "pass",
        sentence=f"Wrong among the answered images of the untouched test split{of_group}",
        count=errors,
        of=len(accepted),
    )
