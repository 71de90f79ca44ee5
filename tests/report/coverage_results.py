"""Results with all that is said of coverage, of images of none of the classes and of the team."""

from demur.analysis.accuracy.coverage_steps import ConditionStep, CoverageLoss, CoverageStep
from demur.analysis.accuracy.team_cost import Team, TeamRow
from demur.analysis.accuracy.unknown_answers import UnknownAnswers, UnknownClass, UnknownPolicy
from demur.analysis.verdict.imbalance import ConstantAnswer, PositiveBound
from tests.report.example_results import run
from tests.report.simulated_scores import ANSWERED, SEEN, near, share


def step(name, images, before, lever):
    return CoverageStep(
        name=name, images=images, lost=before - images, coverage=share(images / SEEN, SEEN), lever=lever, sentence=name
    )


def coverage_loss():
    counts = (("all", SEEN, None), ("perfect_order", 3770, "model"), ("signal", 3033, "signal"))
    befores = (SEEN, SEEN, 3770)
    steps = [step(name, images, before, why) for (name, images, why), before in zip(counts, befores, strict=True)]
    steps.append(step("certified", ANSWERED, 3033, "labels"))
    conditions = tuple(
        ConditionStep(
            condition=row.condition,
            kind=row.kind,
            sentence=row.sentence,
            n=row.n,
            clean=row.answers + 30,
            lost=40,
            gained=10,
            images=row.answers,
            coverage=row.coverage,
            lever="camera" if row.kind == "corruption" else "model",
        )
        for row in run("issued").conditions
        if row.kind != "clean"
    )
    return CoverageLoss(signal="msp", risk=0.02, n=SEEN, issued=True, steps=tuple(steps), conditions=conditions)


def unknown(**changes):
    facts = {
        "address": "folder:others",
        "n": 1000,
        "unreadable": 0,
        "policy": "certified(risk=0.02)",
        "certified": True,
        "answers": 234,
        "answered": share(0.234, 1000),
        "clean_coverage": share(ANSWERED / SEEN, SEEN),
        "policies": (UnknownPolicy(policy="certified(risk=0.02)", answered=share(0.234, 1000)),),
        "classes": (UnknownClass(name="Bag", answered=share(0.234, 1000), taken=share(1.0, 1000)),),
        "near_duplicates": 0,
        "shared_classes": (),
        "shared_images": 0,
    }
    return UnknownAnswers(**(facts | changes))


def team():
    rows = tuple(
        TeamRow(
            answering=who, target=target, threshold=target, coverage=share(target or 0.7, SEEN),
            error=share(0.02, SEEN), cost=near(0.1, 0.01),
        )
        for who, target in (("person", 0.0), ("policy", None), ("coverage", 0.8), ("model", 1.0))
    )  # fmt: skip
    return Team(human_error=0.02, policy="certified(risk=0.02)", signal="msp", rows=rows, cheapest=rows[2])


def constant(**changes):
    facts = {"answer": "Bag", "n": 4000, "others": 40, "unit": "image", "alike": "everywhere"}
    return ConstantAnswer(**(facts | changes))


def positive(errors, n, bound, *, informative=True):
    return PositiveBound(
        positive="Coat",
        labels=n,
        n=n,
        unit="image",
        wrong_answers=errors,
        bound=bound,
        delta=0.05,
        rate=share(errors / n, n),
        coverage=share(0.7, SEEN),
        informative=informative,
    )


def whole():
    """Everything at once."""
    return run("issued").model_copy(
        update={"coverage_loss": coverage_loss(), "unknown": unknown(), "team": team(), "constant": constant()}
    )
