"""Every guarantee that a plan asked for, the classes or sites of the one in the headline, and the weaker statement."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from demur.analysis.guard_parts import guard_parts
from demur.analysis.quantity import Quantity, Table
from demur.analysis.run_folder import Run, score, share
from demur.policies import (
    CERTIFIED_POLICIES,
    Certificate,
    CertifiedPair,
    CertifiedPolicy,
    ClassThreshold,
    SiteCertificate,
    SiteThresholds,
)
from demur.policies.certificate import Pool
from demur.policies.second_threshold import Purpose
from demur.records import wrong

Kind: TypeAlias = Literal["risk", "capacity", "class", "site"]
"""What a guarantee is about: wrong answers at a fixed risk or at a fixed coverage, in each class, at each site."""


class GuaranteePart(Table):
    """One class or site that a guarantee is about, on the certify split and on the untouched test split.

    `bound` is what the certify labels leave plausible of the share kept to `risk`: of a class the share of all its
    images that is answered wrong, of a site the share of wrong answers. `threshold` is null where all share one.
    """

    name: str
    risk: float
    bound: float
    threshold: float | None
    certify_n: int
    certify_answers: int
    certify_wrong: int
    test_n: int
    test_answers: int
    test_wrong: int


class SecondCheck(Table):
    """The second threshold of a guarantee about two: which signal, where, and what it is to keep out.

    It withholds `spent` of the right tune answers, at most the `budget`. Of the clean test images, `withheld` is the
    share that it withholds though the first threshold would answer.
    """

    signal: str
    threshold: float
    purpose: Purpose
    budget: float
    spent: float
    withheld: Quantity


class GuaranteeRow(Table):
    """One guarantee of the plan: its name, whether it was issued, and what it says or why it was refused."""

    policy: str
    issued: bool
    sentence: str


class AverageLossRow(Table):
    """The weaker statement beside a refusal: on average over draws, so few of *all* images are answered and wrong.

    `answered` and `wrong` are the shares of test images answered, and answered and wrong, at its threshold.
    """

    signal: str
    threshold: float
    loss: float
    n: int
    unit: Literal["image", "group"]
    answered: Quantity
    wrong: Quantity
    sentence: str


def kind(guard: CertifiedPolicy) -> Kind:
    """What the guarantee of a guard is about."""
    match guard:
        case ClassThreshold():
            return "class"
        case SiteThresholds():
            return "site"
        case _:
            return "risk" if guard.certificate.capacity is None else "capacity"


def guarantee_facts(run: Run, guard: CertifiedPolicy) -> dict[str, Any]:
    """What a `Guarantee` says besides its counts: its kind, what counts equally, its parts, its sentence."""
    made = guard.certificate
    return {
        "kind": kind(guard),
        "threshold": None if isinstance(made, SiteCertificate) else made.threshold,
        "refused_sites": made.refused if isinstance(made, SiteCertificate) else {},
        "parts": _parts(run, guard),
        "sentence": made.sentence,
        "second": _second(run, guard) if isinstance(guard, CertifiedPair) else None,
        **(_pool_facts(made.pool, made) if isinstance(made, Certificate) and made.pool is not None else {}),
    }


def _pool_facts(pool: Pool, made: Certificate) -> dict[str, Any]:
    """What counts equally where all images of groups took part, and the other risk beside the one guaranteed."""
    value, low, high = pool.image_risk
    beside = Quantity(value=value, low=low, high=high, n=made.m, unit=made.unit)
    return {
        "weighting": pool.weighting,
        "images": pool.images,
        "image_risk": None if pool.weighting == "image" else beside,
    }


def _second(run: Run, guard: CertifiedPair) -> SecondCheck:
    test, second = run.rows("clean", "test"), guard.second
    return SecondCheck(
        signal=second.signal,
        threshold=second.uncertainty,
        purpose=second.purpose,
        budget=second.budget,
        spent=second.spent,
        withheld=share(run.accepts(guard.first, test) & ~run.accepts(guard, test), test),
    )


def _parts(run: Run, guard: CertifiedPolicy) -> tuple[GuaranteePart, ...]:
    """The classes or sites of a guard; none where it is about all together."""
    counted = guard_parts(run, guard, run.rows("clean", "test"))
    return tuple(
        GuaranteePart(**facts, test_n=part.n, test_answers=part.answers, test_wrong=part.errors)
        for facts, part in zip(_certified(guard), counted, strict=False)
    )


def _certified(guard: CertifiedPolicy) -> tuple[Mapping[str, Any], ...]:
    """What the certify split said of each part."""
    match guard:
        case ClassThreshold():
            return tuple(
                {"name": each.name, "risk": each.risk, "bound": each.bound, "threshold": None}
                | {"certify_n": each.n, "certify_answers": each.answered, "certify_wrong": each.wrong}
                for each in guard.certificate.classes
            )
        case SiteThresholds():
            sites = ((each.site, each.certificate) for each in guard.certificate.sites)
            return tuple(
                {"name": site, "risk": made.risk, "bound": made.bound, "threshold": made.threshold}
                | {"certify_n": made.images, "certify_answers": made.answered, "certify_wrong": made.wrong}
                for site, made in sites
            )
        case _:
            return ()


def guarantee_rows(run: Run) -> tuple[GuaranteeRow, ...]:
    """Every guarantee of the plan, in its order."""
    rows = []
    for entry in run.policy_facts:
        policy = run.policies.get(entry["name"])
        if isinstance(policy, CERTIFIED_POLICIES):
            rows.append(GuaranteeRow(policy=entry["name"], issued=True, sentence=policy.certificate.sentence))
        elif "refusal" in entry:
            rows.append(GuaranteeRow(policy=entry["name"], issued=False, sentence=entry["refusal"]["sentence"]))
    return tuple(rows)


def average_loss(run: Run) -> AverageLossRow | None:
    """The weaker statement, where nothing was certified and there is one."""
    entry = next((each for each in run.policy_facts if each.get("average_loss")), None)
    if run.guard is not None or entry is None:
        return None
    found, test = entry["average_loss"], run.rows("clean", "test")
    answered = score(test, entry["signal"]) <= found["threshold"]
    return AverageLossRow(
        signal=entry["signal"],
        threshold=found["threshold"],
        loss=found["loss"],
        n=found["m"],
        unit=found["unit"],
        answered=share(answered, test),
        wrong=share(answered & wrong(test), test),
        sentence=found["sentence"],
    )
