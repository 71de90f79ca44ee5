"""The final verdict: the state, the guarantee or the refusal, what is not covered, what to do next."""

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from demur.analysis.accuracy.overall import ConditionRow
from demur.analysis.quantity import Number, Quantity, Table
from demur.analysis.run_folder import Run, independent_rows, score, share
from demur.analysis.verdict.guarantees import GuaranteePart, Kind, SecondCheck, guarantee_facts, kind
from demur.analysis.verdict.verdict_tables import Check
from demur.metrics import coverage_at_risk
from demur.policies import CertifiedPair, Look
from demur.policies.certificate import Weighting
from demur.policies.look import PLACES
from demur.records import wrong


class Guarantee(Table):
    """A certified policy, and what the untouched test split says of it.

    `kind` says what the guarantee is about: the share `risk` of wrong answers; that share at a `capacity`, a coverage
    fixed beforehand; in each `class` the share answered wrong; at each `site` the share of wrong answers, with
    thresholds of their own, so that `threshold` is null. `parts` are these classes or sites. Where all images of groups
    took part, or weighted ones, `weighting` says what counts equally, `certify_answers` and `certify_wrong` are of
    `images`, and `image_risk` is the share of wrong answers among the images as they are, an estimate.

    `test_n`, `test_answers` and `test_wrong` count the `unit` of the guarantee: one image of each group where there
    are groups. The shares are of all test images, with intervals by the same unit. At least the share `coverage_low` of
    new units is answered, by the scores of `coverage_n` test units, or of the certify units where there are none.
    `look` says which look at these labels this was, `look_place` where that was counted, `spent` what it took of
    `delta`. `attainable` is the share that could be answered at this risk if every label were known. `second` is the
    other threshold, where the guarantee is of answers that pass two; `attainable` is then of the first alone.
    """

    signal: str
    threshold: float | None
    risk: float
    delta: float
    certify_n: int
    certify_answers: int
    certify_wrong: int
    test_n: int
    test_answers: int
    test_wrong: int
    coverage: Quantity
    test_risk: Quantity
    risk_without_guard: Quantity
    unit: Literal["image", "group"] = "image"
    kind: Kind = "risk"
    images: int | None = None
    weighting: Weighting | None = None
    image_risk: Quantity | None = None
    parts: tuple[GuaranteePart, ...] = ()
    second: SecondCheck | None = None
    refused_sites: dict[str, str] = Field(default_factory=dict)
    sentence: str = ""
    coverage_low: float = 0.0
    coverage_n: int = 0
    coverage_answers: int = 0
    coverage_rows: Literal["test", "certify"] = "test"
    look: int = 1
    look_place: str = PLACES["nowhere"]
    spent: float = 0.0
    attainable: Number = math.nan


class RefusalTable(Table):
    """Why no threshold was certified, and what would be needed (`labels_needed` is null where no number can be named).

    `provable` is the smallest risk so few labels could prove if no answer were wrong; `supported` the smallest of a few
    rounder risks at which these very labels would have passed. It was chosen after the fact, so it guarantees nothing.
    `labels_needed` is for the next look, which has less to spend. `attainable` is the share that could be answered at
    this risk if every label were known; 0 where no threshold would do.
    `constant_group` is the one group that all images are of, where that is the reason.
    """

    sentence: str
    risk: float
    delta: float
    labels_needed: int | None
    labels_given: int
    lowest_risk: Number
    unit: Literal["image", "group"] = "image"
    kind: Kind = "risk"
    provable: float | None = None
    supported: float | None = None
    look: int = 1
    look_place: str = PLACES["nowhere"]
    spent: float = 0.0
    attainable: Number = math.nan
    constant_group: str | None = None


State = Literal["issued", "uninformative", "too_few_labels", "model_too_weak", "measurement_failed", "undeclared"]


def state(run: Run, checked: tuple[Check, ...], *, informative: bool = True) -> State:
    """One of six: a failed check of the model, the data or the guarantee outweighs everything."""
    if any(check.state == "fail" and check.bears_on in {"everything", "guarantee"} for check in checked):
        return "measurement_failed"
    if run.guard is not None:
        return "issued" if informative else "uninformative"
    if run.refusal is None:
        return "undeclared"
    return "too_few_labels" if run.refusal["reason"] == "too_few_labels" else "model_too_weak"


def guarantee(run: Run) -> Guarantee | None:
    """The certificate, and what the untouched test split says of it."""
    if run.guard is None:
        return None
    certificate, test, bare = run.guard.certificate, run.rows("clean", "test"), run.unfitted_rows()
    answered = run.accepts(run.guard, test)
    accepted, units = test.filter(answered), independent_rows(test)
    given = units.filter(run.accepts(run.guard, units))
    return Guarantee(
        signal=run.guard.signal,
        **guarantee_facts(run, run.guard),
        risk=certificate.risk,
        delta=certificate.delta,
        certify_n=certificate.m,
        certify_answers=certificate.answered,
        certify_wrong=certificate.wrong,
        test_n=len(units),
        test_answers=len(given),
        test_wrong=int(wrong(given).sum()),
        coverage=share(answered, test),
        test_risk=share(wrong(accepted), accepted),
        risk_without_guard=share(wrong(bare), bare),
        unit=certificate.unit,
        coverage_low=certificate.coverage.low,
        coverage_n=certificate.coverage.n,
        coverage_answers=certificate.coverage.answered,
        coverage_rows=certificate.coverage.rows,
        attainable=_attainable(run, run.guard.signal, certificate.risk),
        **_look_facts(certificate.look, certificate.delta),
    )


def _look_facts(look: Look, delta: float) -> dict[str, Any]:
    return {"look": look.number, "look_place": PLACES[look.counted], "spent": look.spent(delta)}


def _attainable(run: Run, signal: str, risk: float) -> float:
    """The largest coverage at which so few answers were wrong, which no number of labels can be sure to exceed."""
    rows = run.unfitted_rows()
    return float(coverage_at_risk(score(rows, signal), wrong(rows), risk=risk))


def refusal(run: Run) -> RefusalTable | None:
    """Why nothing was certified."""
    if run.guard is not None or run.refusal is None:
        return None
    found = run.refusal
    own = {name: found[name] for name in RefusalTable.model_fields if name in found}
    attainable = _attainable(run, found["signal"], found["risk"])
    return RefusalTable(**own | _look_facts(Look(**found["look"]), found["delta"]) | {"attainable": attainable})


def out_of_scope(conditions: tuple[ConditionRow, ...], run: Run) -> tuple[str, ...]:
    """What the guarantee says nothing about, with what was measured of it."""
    shifted = (row for row in conditions if row.holds == "broken" and row.kind == "corruption")
    broken = list(dict.fromkeys(_family(row.family) for row in shifted))
    seen = f": {_listed(broken)} broke it" if broken else ""
    return (
        f"Images unlike the labelled ones{seen}",
        f"Images changed on purpose{_unmeasured_attacker(run)}",
        "Things that belong to none of the classes",
        *_uncovered(run),
        *_left_out(run),
    )


def _left_out(run: Run) -> tuple[str, ...]:
    """What the usual plan would have measured of a smaller model."""
    parts = run.facts.get("sizing", {}).get("left_out", ())
    return (f"What a model of this size is spared: {'; '.join(parts)}",) if parts else ()


def _unmeasured_attacker(run: Run) -> str:
    """What no attack of the audit could show; nothing where gradients could be followed."""
    if not run.facts.get("gradient_fault"):
        return ""
    return ": what an attacker with gradients can do is not known, for the model gave none"


def _uncovered(run: Run) -> tuple[str, ...]:
    """What the kind of the guarantee leaves out."""
    about = "risk" if run.guard is None else kind(run.guard)
    if about == "class":
        return ("The share of wrong answers among those given, at another mixture of the classes",)
    each = ", one image of each new group" if run.facts["groups"] is not None else ""
    if about == "site":
        return (
            "Other sites, where it abstains",
            f"Any single class: the guarantee is about all answers at a site{each}",
        )
    return (f"Any single class: the guarantee is about all answers together{each}",)


def next_step(
    found: State, checked: tuple[Check, ...], run: Run, remedy: str = "", purpose: Mapping[str, Any] | None = None
) -> str:
    """The one thing to do now; `remedy` is what would make an uninformative guarantee say something.

    It asks for nothing that the declared purpose rules out: a demonstration is not put to use, another use not allowed.
    """
    failed = ", ".join(check.name for check in checked if check.state == "fail")
    needed = None if run.refusal is None else run.refusal["labels_needed"]
    unit = "image" if run.refusal is None else run.refusal["unit"]
    if run.refusal is not None and run.refusal.get("constant_group") and found == "too_few_labels":
        return "Name groups that tell images apart (patient, module, lot, video), or give none; all are of one group."
    more = f"about {needed:,} {unit}s for certification alone, at a next look" if needed else "more are needed to tell"
    steps: dict[State, str] = {
        "measurement_failed": f"Do not use these numbers. Repair what failed ({failed}) and run the audit again.",
        "issued": _use(run, purpose or {}),
        "uninformative": remedy,
        "undeclared": "Say how many wrong answers are tolerable: add --risk and a share, such as 0.02 for 2 %.",
        "too_few_labels": f"Label more images ({more}), or accept a larger risk{_hint(run)}.",
        "model_too_weak": (f"Improve the model, or accept a larger risk{_hint(run)}. More labels would not help."),
    }
    if failed and found != "measurement_failed":
        return f"{steps[found]} Figures of what failed its checks ({failed}) are not to be used until that is repaired."
    return steps[found]


def _use(run: Run, purpose: Mapping[str, Any]) -> str:
    """What to do with a guarantee, within the declared purpose."""
    if purpose.get("demonstration"):
        return (
            f"Nothing to put to use: this is a demonstration. Try the guard on single images{_command(run)}, then "
            "audit your own model on your own labelled images (demur audit MODEL DATA --risk 0.02)."
        )
    lead = (
        "For the declared use and no other: put" if purpose.get("intended_use") else "Declare what it is for, then put"
    )
    return (
        f"{lead} {_thresholds(run)} in front of the model{_command(run)}, send the images it abstains on to a person, "
        "and audit again when the model, the camera or the place changes."
    )


def _command(run: Run) -> str:
    """What makes a guard of the run; a table of scores has no model, and a guard under audit is one."""
    made = run.facts["parameters"] == 0 or "guard" in run.policies
    return "" if made else " (demur guard fit --from RUN)"


def _thresholds(run: Run) -> str:
    return "both thresholds" if isinstance(run.guard, CertifiedPair) else "the threshold"


def _hint(run: Run) -> str:
    """The risk these labels would have borne, as a hint for a plan that fresh labels decide."""
    supported = None if run.refusal is None else run.refusal.get("supported")
    return (
        ""
        if supported is None
        else (
            f" (these labels would have borne {supported * 100:.0f} %, which proves nothing: to ask for another risk, "
            "label new images)"
        )
    )


def _family(name: str) -> str:
    return name.replace("_", " ")


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def independence(groups: int | None) -> str:
    """What was taken for one independent observation."""
    if groups is None:
        return "images assumed independent: no group (patient, module, lot, camera) was given"
    return f"{groups:,} groups taken for independent; splits, intervals and the guarantee follow them"
