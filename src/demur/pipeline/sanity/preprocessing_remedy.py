"""What would make a model see the images, where it seems not to: for the refusal of labels that do not fit."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.metrics.paired_gains import GROSS, Answers, gains
from demur.pipeline.job import Job
from demur.pipeline.sanity.preprocessing_probe import preprocessing_facts


def preprocessing_remedy(job: Job) -> str:
    """The preprocessing that fits clearly better, and the option that mends it; empty where there is none."""
    facts = preprocessing_facts(job)
    tried = [each for each in facts["variants"] if each["fault"] is None]
    if not tried:
        return ""
    own = Answers.of(facts["right"], facts["losses"])
    ways = [Answers.of(each["right"], each["losses"]) for each in tried]
    found = zip(gains(own, ways, _groups(job, facts["sample_ids"])), ways, tried, strict=True)
    better = [
        (
            gain.accuracy.value - (GROSS if each["adapted"] else 0),
            way,
            each,
        )  # what may be a shift must be clearly better
        for gain, way, each in found
        if gain.is_gross
    ]
    if not better:
        return ""
    _, way, best = max(better, key=lambda each: each[0])
    rows = len(way.right)
    return (
        f"Of {rows} tune images it is right on {own.right[:rows].mean():.0%} as they are and on {way.right.mean():.0%} "
        f"with another preprocessing, {best['name']}: {best['remedy']}."
    )


def _groups(job: Job, names: list[str]) -> NDArray[Any] | None:
    """The unit of independence of each named image, itself where it has no group; None where no image has one."""
    index = job.index
    if index.group_count is None:
        return None
    found = dict(zip(index.sample_ids, index.groups, strict=True))
    return np.array([found[name] or f"image {name}" for name in names], object)
