"""Robustness that is a mask: what the measurement's own trials and checks say of it."""

from collections.abc import Iterable

from demur.analysis.quantity import Table
from demur.analysis.run_folder import Run
from demur.analysis.verdict.sanity_checks import MISLED, RULES, mask_check
from demur.analysis.verdict.verdict_tables import Check


class BreachRow(Table):
    """An attack, in words that follow "fall to", and how many of the images that stood it fools."""

    attack: str
    count: int


class Masking(Table):
    """A model that looks robust and is not, on the `of` images of the trials; null where nothing speaks for it.

    `stood` images stand against the usual attack of size `eps`, `grey` of all where every image could be turned grey,
    and `exposed` of the first fall to another attack. These are null where the usual attack has gradients, and
    `evidence` says how else they are known to mislead.
    """

    of: int
    norm: str | None = None
    eps: float | None = None
    stood: int | None = None
    grey: int | None = None
    exposed: int | None = None
    breaches: tuple[BreachRow, ...] = ()
    evidence: str | None = None


def masking(run: Run, checked: Iterable[Check]) -> Masking | None:
    """What is behind a mask, by the trial of it, else by a check of which gradients find less than what sees none."""
    facts = (run.optional_facts("trials") or {}).get("mask")
    if facts is not None and mask_check(facts).state != "pass":
        return Masking(**{name: facts[name] for name in ("of", "norm", "eps", "stood", "grey", "exposed", "breaches")})
    names = {RULES[name].name for name in MISLED}
    failed = [check for check in checked if check.name in names and check.state == "fail" and check.of]
    if not failed:
        return None
    most = max(failed, key=lambda check: (check.count or 0) / (check.of or 1))
    return Masking(of=most.of or 0, evidence=f"{most.sentence.partition(' (')[0]}: {most.count or 0:,} of {most.of:,}")
