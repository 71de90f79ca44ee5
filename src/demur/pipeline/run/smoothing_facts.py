"""What the classifier answers under normal noise, counted on the attacked images, as an audit leaves it."""

from collections.abc import Sequence
from typing import Any

from demur.foreign import is_of_the_model, is_out_of_memory
from demur.foreign import reason as reason_of
from demur.pipeline.drawn_rows import attacked_rows
from demur.pipeline.job import Job
from demur.pipeline.plan.plan_tables import SmoothingPlan
from demur.proofs import SmoothedVotes, Smoothing
from demur.shapes import Images

NAME = "smoothing"
_TIMES = (1, 2, 3, 4)
_DRAWN = ("sigma", "alpha", "selection", "samples", "share")


def smoothing_facts(job: Job) -> dict[str, Any]:
    """For each image the class selected, its votes and those of the label; radii follow from these counts alone.

    Where the model fails on noisy images there is the `reason`, and no counts.
    """
    plan = job.plan.smoothing
    assert plan is not None
    how = Smoothing(sigma=plan.sigma, alpha=plan.alpha, selection=plan.selection, samples=plan.samples)
    rows = attacked_rows(job.index, min(plan.images, job.plan.conditions.attacked)).tolist()
    facts: dict[str, Any] = {name: getattr(plan, name) for name in _DRAWN}
    facts |= {"radii": _radii(plan, how), "reason": None, **_columns()}
    for part in (rows[at : at + job.plan.batch] for at in range(0, len(rows), job.plan.batch)):
        x, y = job.load(part)
        found = _votes(job, how, x, part)
        if isinstance(found, str):
            return facts | {"reason": found, **_columns()}
        facts["sample_ids"] += [job.index.sample_ids[row] for row in part]
        facts["selected"] += found.selected.tolist()
        facts["votes"] += found.of(found.selected).tolist()
        facts["label_votes"] += found.of(y).tolist()
    return facts


def _columns() -> dict[str, list[Any]]:
    """No rows yet."""
    return {"sample_ids": [], "selected": [], "votes": [], "label_votes": []}


def _radii(plan: SmoothingPlan, how: Smoothing) -> list[float]:
    """The sizes that the plan names, else multiples of the noise that can be proven of a guard by votes; 0 first."""
    usual = (round(times * plan.sigma, 9) for times in _TIMES)
    return sorted({0.0, *(plan.radii or (radius for radius in usual if radius < how.reach(1 - plan.share)))})


def _votes(job: Job, how: Smoothing, x: Images, rows: Sequence[int]) -> SmoothedVotes | str:
    """The votes, or why the model, which has answered these images without noise, does not give them."""
    try:
        return how.certify(job.classifier, x, job.keys(rows, NAME), batch=job.plan.batch)
    except BaseException as error:
        if not is_of_the_model(error) or is_out_of_memory(error):
            raise
        return reason_of(error)
