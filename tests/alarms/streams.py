"""Streams of decided images for trials of alarms."""

import numpy as np

from demur.alarms import AlarmPlan, Alarms, Observation, Reference

SHA = "ab" * 32


def reference(**given):
    scores = np.random.default_rng(0).random(1000)
    facts = {"images": 4065, "abstained": 805, "scores": scores, "signal": "msp", "risk": 0.02}
    return Reference(**{**facts, **given})


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self):
        self.now = 1_800_000_000.0

    def __call__(self):
        return self.now


def opened(place=None, clock=None, seed=0, sha256=SHA, held_against=None, **plan):
    return Alarms.open(
        place, held_against or reference(), AlarmPlan(**plan), guard_sha256=sha256, clock=clock or Clock(), seed=seed
    )


def images(count, abstain=0.2, seed=1, prefix="", sequence=None, label="cat"):
    """Images whose scores are uniform; those above 1 − abstain are withheld."""
    scores = np.random.default_rng(seed).random(count)
    return [
        Observation(
            id=f"{prefix}{k}",
            accepted=bool(score <= 1 - abstain),
            reason="" if score <= 1 - abstain else "low_confidence",
            score=float(score),
            label=label,
            sequence=sequence(k) if sequence else None,
        )
        for k, score in enumerate(scores)
    ]
