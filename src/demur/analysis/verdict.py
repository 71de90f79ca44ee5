"""What it all comes to: the state, the promise or the refusal, what is not covered, what to do next."""

from demur.analysis.accuracy import share
from demur.analysis.results import Check, ConditionRow, Promise, Refusal, State
from demur.analysis.run import Run, wrong
from demur.analysis.standing import standing


def state(run: Run, checked: tuple[Check, ...]) -> State:
    """One of five: a failed check outweighs everything."""
    if any(check.state == "fail" for check in checked):
        return "measurement_failed"
    if run.guard is not None:
        return "issued"
    if run.refusal is None:
        return "undeclared"
    return "too_few_labels" if run.refusal["reason"] == "too_few_labels" else "model_too_weak"


def promise(run: Run) -> Promise | None:
    """The certificate, and what the untouched test split says of it."""
    if run.guard is None:
        return None
    certificate, test = run.guard.certificate, run.rows("clean", "test")
    answered = run.answered(run.guard, test)
    accepted, units = test.filter(answered), standing(test)
    given = units.filter(run.answered(run.guard, units))
    return Promise(
        signal=run.guard.signal,
        threshold=certificate.threshold,
        risk=certificate.risk,
        delta=certificate.delta,
        certify_n=certificate.m,
        certify_answered=certificate.answered,
        certify_wrong=certificate.wrong,
        test_n=len(units),
        test_answered=len(given),
        test_wrong=int(wrong(given).sum()),
        coverage=share(answered, test),
        test_risk=share(wrong(accepted), accepted),
        unguarded_risk=share(wrong(test), test),
        unit=certificate.unit,
    )


def refusal(run: Run) -> Refusal | None:
    """Why nothing was certified."""
    if run.guard is not None or run.refusal is None:
        return None
    found = run.refusal
    return Refusal(**{name: found[name] for name in Refusal.model_fields if name in found})


def not_covered(conditions: tuple[ConditionRow, ...], groups: int | None) -> tuple[str, ...]:
    """What the promise says nothing about, with what was measured of it."""
    shifted = (row for row in conditions if row.holds is False and row.kind == "corruption")
    broken = list(dict.fromkeys(_family(row.family) for row in shifted))
    seen = f": {_listed(broken)} broke it" if broken else ""
    each = "all answers together" if groups is None else "all answers together, one image of each new group"
    return (
        f"Images unlike the labelled ones{seen}",
        "Images changed on purpose",
        "Things that belong to none of the classes",
        f"Any single class: the promise is about {each}",
    )


LAPSES = ("model, preprocessing, signal or threshold change", "images come from another source")


def next_step(found: State, checked: tuple[Check, ...], run: Run) -> str:
    """The one thing to do now."""
    failed = ", ".join(check.name for check in checked if check.state == "fail")
    needed = None if run.refusal is None else run.refusal["labels_needed"]
    unit = "image" if run.refusal is None else run.refusal["unit"]
    more = f"about {needed:,} {unit}s for certification alone" if needed else "more are needed to tell"
    steps: dict[State, str] = {
        "measurement_failed": f"Do not use these numbers. Repair what failed ({failed}) and run the audit again.",
        "issued": (
            "Put the threshold in front of the model, send what it declines to a person, and audit again when the "
            "model, the camera or the place changes."
        ),
        "undeclared": "Say how many wrong answers are tolerable: add --risk and a share, such as 0.02 for 2 %.",
        "too_few_labels": f"Label more images ({more}), or accept a larger risk{_hint(run)}.",
        "model_too_weak": (f"Improve the model, or accept a larger risk{_hint(run)}. More labels would not help."),
    }
    return steps[found]


def _hint(run: Run) -> str:
    """The risk these labels would have borne, as a hint for a plan that fresh labels decide."""
    supported = None if run.refusal is None else run.refusal.get("supported")
    return (
        ""
        if supported is None
        else f" (these labels would bear {supported * 100:.0f} %: declare it, and prove it on fresh ones)"
    )


def _family(name: str) -> str:
    return name.replace("_", " ")


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def independence(groups: int | None) -> str:
    """What was taken for one independent observation."""
    if groups is None:
        return "images assumed independent: no group (patient, module, lot, camera) was given"
    return f"{groups:,} groups taken for independent; roles, intervals and the promise follow them"
