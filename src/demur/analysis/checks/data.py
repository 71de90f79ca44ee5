"""Checks of images and labels."""

from collections.abc import Iterator

from demur.analysis.checks.levels import level
from demur.analysis.results import Check
from demur.analysis.run import Run, wrong
from demur.metrics import wilson

_FEWEST_ERRORS = 30


def data(run: Run) -> Iterator[Check]:
    """Whether the labels are the model's, images could be read, and there are errors to learn from."""
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
        state=level(run.failed, total, 0, 0.05),
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


def copies(run: Run) -> Iterator[Check]:
    """Images that serve two ends; runs of earlier versions did not look for them."""
    facts = run.noted("near_duplicates")
    if facts is None:
        return
    yield Check(
        name="near-duplicates stay together",
        state=level(facts["test_images"], facts["test"], 0, 0.01),
        sentence="Test images of which another split holds a near-duplicate",
        count=facts["test_images"],
        of=facts["test"],
    )
    if facts["copies"]:
        total = sum(run.facts["roles"].values())
        yield Check(
            name="copies stay together",
            state=level(facts["copies"], total, 0, 0.01),
            sentence="Images of which the given split puts an exact copy elsewhere",
            count=facts["copies"],
            of=total,
        )
