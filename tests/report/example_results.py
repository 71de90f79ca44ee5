"""Plausible results of all five states, built from simulated scores."""

from functools import cache

from demur.analysis.accuracy.overall import ClassRow, ConditionRow, WorstClass
from demur.analysis.results import Provenance, Results
from demur.analysis.robustness.manipulation import Manipulation
from demur.analysis.signals.signal_ranking import SignalRow, TargetRow
from demur.analysis.verdict.verdict import Guarantee, RefusalTable
from demur.analysis.verdict.verdict_tables import Check
from demur.policies.keeping import keeping
from tests.report.detail_tables import CLASSES, RIGHT, calibration, confusion, gallery, policies
from tests.report.simulated_scores import ANSWERED, SEEN, WRONG, curve, histogram, near, oracle, share, simulated

SIGNALS = {
    "msp": ("one minus the largest class probability", "probability", 0.0),
    "energy": ("free energy of the logits", "logits", -0.03),
    "entropy": ("entropy of the class probabilities", "nats", 0.004),
    "margin": ("one minus the gap between the two largest probabilities", "probability", 0.002),
    "max_logit": ("the largest logit, negated", "logits", -0.025),
}


def signal(name):
    sentence, unit, gain = SIGNALS[name]

    def row(target, base, positives, negatives, own):
        shown = None if name == "msp" else near(gain * (1 if target == "error" else -2), 0.008)
        extra = {
            "augrc": near(0.0091 - gain / 10, 0.0006),
            "aurc": near(0.0142 - gain / 5, 0.001),
            "coverage_at_risk": near(0.7014 + gain, 0.02),
        }
        return TargetRow(
            target=target,
            positives=positives,
            negatives=negatives,
            auroc=near(base + (gain if shown else 0), 0.009),
            gain=shown,
            aupr=near(0.52 + gain, 0.02),
            fpr95=near(0.38 - gain, 0.03),
            **(extra if own else {"augrc": None, "aurc": None, "coverage_at_risk": None}),
        )

    return SignalRow(
        name=name,
        sentence=sentence,
        unit=unit,
        targets=(
            row("error", 0.921, 316, 3696, True),
            row("attack", 0.143, 912, 4012, False),
            row("attack_oblivious", 0.736, 912, 4012, False),
            row("shift", 0.744, 60180, 4012, False),
        ),
    )


def conditions(guaranteed):
    rows = [("clean", "clean", "clean", "images as they are", 0, 0.9212, 0.7014, 0.0121)]
    plans = {
        "gaussian_noise": (
            (0.89, 0.64, 0.014),
            (0.84, 0.55, 0.019),
            (0.74, 0.43, 0.034),
            (0.61, 0.31, 0.071),
            (0.44, 0.2, 0.162),
        ),
        "gaussian_blur": (
            (0.87, 0.6, 0.016),
            (0.79, 0.47, 0.022),
            (0.7, 0.38, 0.048),
            (0.6, 0.3, 0.097),
            (0.51, 0.24, 0.15),
        ),
        "low_light": (
            (0.918, 0.69, 0.012),
            (0.91, 0.66, 0.013),
            (0.89, 0.6, 0.015),
            (0.82, 0.46, 0.018),
            (0.55, 0.22, 0.081),
        ),
    }
    for family, steps in plans.items():
        for at, (right, covered, risk) in enumerate(steps, 1):
            name = f"{family}(severity={at})"
            rows.append(
                (
                    name,
                    family,
                    "corruption",
                    f"{family.replace('_', ' ')}, severity {at} of 5",
                    at,
                    right,
                    covered,
                    risk,
                )
            )
    for family, falls in {"fgsm": (0.52, 0.31, 0.14, 0.09), "pgd": (0.36, 0.11, 0.01, 0.0)}.items():
        for eps, right in zip((0.05, 0.1, 0.2, 0.3), falls, strict=True):
            rows.append(
                (
                    f"{family}(eps={eps})",
                    family,
                    "attack",
                    f"{family.upper()}, change up to {eps}",
                    eps,
                    right,
                    0.55,
                    0.99 - right,
                )
            )
    return tuple(condition(*row, guaranteed=guaranteed) for row in rows)


def condition(name, family, kind, sentence, severity, right, covered, risk, guaranteed):
    n = 1500 if kind == "attack" else SEEN
    answered = ANSWERED if kind == "clean" else round(covered * n)
    wrong = WRONG if kind == "clean" else round(answered * risk)
    return ConditionRow(
        condition=name,
        family=family,
        kind=kind,
        sentence=sentence,
        severity=severity,
        n=n,
        accuracy=share(right, n),
        answers=answered if guaranteed else None,
        wrong_answers=wrong if guaranteed else None,
        coverage=share(answered / n, n) if guaranteed else None,
        risk=share(wrong / answered, answered) if guaranteed else None,
        holds=keeping(wrong, answered, 0.02) if guaranteed else None,
        forwards=n * 20,
        backwards=n * 20 if kind == "attack" else 0,
    )


def classes(guaranteed):
    return tuple(
        ClassRow(
            name=name,
            n=401,
            accuracy=share(right, 401),
            coverage=share(right**2 * 0.85, 401) if guaranteed else None,
            risk=share((1 - right) / 4, 300) if guaranteed else None,
            alone={"accuracy": share(right, 401)},
        )
        for name, right in zip(CLASSES, RIGHT, strict=True)
    )


def provenance(**changes):
    facts = {
        "model": "fashion",
        "model_sha256": "9f2c" * 16,
        "parameters": 26234,
        "input_shape": (1, 28, 28),
        "data": "fashion",
        "data_sha256": "51b7" * 16,
        "splits": {"fit": 496, "tune": 1492, "certify": 4000, "test": SEEN},
        "duplicates": 3,
        "groups": None,
        "independence": "images assumed independent",
        "failed_samples": 0,
        "attacked_samples": 1500,
        "plan_sha256": "3da11c02" * 8,
        "seed": 0,
        "versions": {"demur": "0.1.0", "torch": "2.13.0", "python": "3.11.2"},
        "plan_toml": 'version = 1\n\n[model]\naddress = "fashion"\n\n[policies]\nuse = ["certified(risk=0.02)"]\n',
        "start_time": "2026-03-02T10:14:09Z",
        "seconds": 154.2,
        "forwards": 812_400,
        "backwards": 240_000,
    }
    return Provenance(**(facts | changes))


CHECKS = (
    Check(name="labels", state="pass", sentence="The labels fit the model's classes.", count=10, of=10),
    Check(name="determinism", state="pass", sentence="Two passes over the same images gave the same answers."),
    Check(
        name="gradients",
        state="pass",
        sentence="Gradients reach the images; attacks are not blinded.",
        count=256,
        of=256,
    ),
    Check(name="budget", state="pass", sentence="No attacked image left its allowed change.", count=12000, of=12000),
    Check(
        name="rows", state="pass", sentence="Every image was measured under every condition.", count=168_000, of=168_000
    ),
    Check(name="splits", state="pass", sentence="No image is in two splits."),
    Check(
        name="attack strength",
        state="warn",
        sentence="For 12 of 1,500 images more attack steps still found more errors.",
        count=12,
        of=1500,
    ),
)

PURPOSE = {
    "intended_use": "Sort catalogue photographs of clothing into 10 kinds",
    "population": "product photographs on plain background",
    "abstentions_go_to": "a person",
}


def base(guaranteed):
    """The rich fixture, without a state."""
    return {
        "provenance": provenance(),
        "classes": CLASSES,
        "accuracy": share(0.9205, 10000),
        "test_accuracy": share(1 - 316 / SEEN, SEEN),
        "guarantee": None,
        "refusal": None,
        "worst_class": WorstClass(row=classes(guaranteed)[6], by="risk" if guaranteed else "accuracy"),
        "conditions": conditions(guaranteed),
        "manipulation": Manipulation(
            norm="linf",
            median_distance=near(0.0273, 0.0011, 1500),
            eps=0.1,
            attacked_samples=1500,
            wrong_answers=1063 if guaranteed else None,
            robust_accuracy=share(0.11, 1500),
            sentence="The attacker knew the model but not the guard; one who knows both does more harm.",
        ),
        "out_of_scope": (
            "images unlike those measured (other cameras, backgrounds, kinds of clothing)",
            "images changed on purpose",
            "any single class alone",
        ),
        "void_when": ("the model, its preprocessing or the threshold changes", "the images drift from those measured"),
        "checks": CHECKS,
        "next_step": "Label 500 images from your own cameras and run the audit on them before use.",
        "signals": tuple(signal(name) for name in SIGNALS),
        "curves": tuple(curve(name, SIGNALS[name][2]) for name in SIGNALS),
        "oracle": oracle(),
        "random_risk": 316 / SEEN,
        "histograms": tuple(histogram(name) for name in SIGNALS),
        "calibration": calibration(),
        "per_class": classes(guaranteed),
        "confusion": confusion(),
        "policies": policies(),
        "gallery": gallery(guaranteed),
        "purpose": PURPOSE,
    }


@cache
def run(state):
    if state == "issued":
        return Results(state=state, **(base(True) | {"guarantee": guarantee()}))
    refusals = {
        "too_few_labels": RefusalTable(
            sentence="Even without a single error 149 answered images are needed; 120 were labelled.",
            risk=0.02,
            delta=0.05,
            labels_needed=456,
            labels_given=120,
            lowest_risk=0.0247,
        ),
        "model_too_weak": RefusalTable(
            sentence="At every threshold tried, too many of the answered images were wrong.",
            risk=0.02,
            delta=0.05,
            labels_needed=None,
            labels_given=2000,
            lowest_risk=0.113,
        ),
    }
    failed = Check(name="rows", state="fail", sentence="812 of 4,012 images could not be read.", count=812, of=4012)
    steps = {
        "too_few_labels": "Label about 340 more images of the same kind and run the audit again.",
        "model_too_weak": "Train longer or on more images, or ask for a guarantee of 12 in 100 with --risk 0.12.",
        "measurement_failed": "Repair the 812 unreadable files, then run the audit again.",
        "undeclared": "Say how often it may be wrong, for example: demur audit --risk 0.02",
    }
    changes = {"refusal": refusals.get(state), "next_step": steps[state]}
    if state == "measurement_failed":
        changes |= {"checks": (*CHECKS[:4], failed), "provenance": provenance(failed_samples=812)}
    if state == "undeclared":
        changes |= {"purpose": {}}
    if state == "too_few_labels":
        changes |= {"manipulation": None, "conditions": conditions(False)[:6]}
    return Results(state=state, **(base(False) | changes))


def guarantee(**changes):
    facts = {
        "signal": "msp",
        "threshold": float(simulated()[0][ANSWERED - 1]),
        "risk": 0.02,
        "delta": 0.05,
        "certify_n": 4000,
        "certify_answers": 2791,
        "certify_wrong": 38,
        "test_n": SEEN,
        "test_answers": ANSWERED,
        "test_wrong": WRONG,
        "coverage": share(ANSWERED / SEEN, SEEN),
        "test_risk": share(WRONG / ANSWERED, ANSWERED),
        "risk_without_guard": share(316 / SEEN, SEEN),
        "coverage_low": 0.6812,
        "coverage_n": SEEN,
        "coverage_answers": ANSWERED,
        "look_place": "counted in opened.jsonl beside the run folders",
        "spent": 0.045,
        "attainable": 0.7811,
    }
    return Guarantee(**(facts | changes))


STATES = ("issued", "too_few_labels", "model_too_weak", "measurement_failed", "undeclared")
