"""What is proven of the images that are attacked, as an audit leaves it beside the rows."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from demur.pipeline.drawn_rows import attacked_rows
from demur.pipeline.job import Job
from demur.proofs import Bounds, NoBoundError, bounds, proven_radii
from demur.shapes import Images, Labels, Scores

_USUAL = (2 / 255, 8 / 255)
_DIGITS = 10**6


def proof_sizes(job: Job) -> tuple[float, ...]:
    """The sizes of L∞ that are proven: those that the plan names, else those of its attacks."""
    of_attacks = {each.severity for each in job.conditions if each.kind == "attack" and each.norm == "linf"}
    return job.plan.proof.eps or tuple(sorted(of_attacks - {0.0})) or _USUAL


def proof_facts(job: Job) -> dict[str, Any]:
    """For each size which images are answered rightly whatever is done to them; how far that holds of each image.

    `msp` and `margin` are the confidence, rounded up, above which no wrong answer can be given; −1 where none can.
    """
    sizes, rows = proof_sizes(job), attacked_rows(job.index, int(job.plan.proof.images or 0))
    facts = {"eps": list(sizes), "reason": None, "sample_ids": [job.index.sample_ids[row] for row in rows]}
    try:
        found = [_of_batch(job, *job.load(part), sizes) for part in _batches(rows.tolist(), job.plan.batch)]
    except NoBoundError as error:
        return {**facts, "reason": str(error), "sample_ids": [], "radii": [], "sizes": []}
    by_size = [
        {key: [value for batch in found for value in batch["sizes"][at][key]] for key in ("right", "msp", "margin")}
        for at in range(len(sizes))
    ]
    return {**facts, "radii": [value for batch in found for value in batch["radii"]], "sizes": by_size}


def _batches(rows: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (rows[at : at + size] for at in range(0, len(rows), size))


def _of_batch(job: Job, x: Images, y: Labels, sizes: Sequence[float]) -> dict[str, Any]:
    known = [bounds(job.classifier, x, y, eps) for eps in sizes]
    radii = proven_radii(job.classifier, x, y, max(sizes))
    return {"sizes": [_of_size(each) for each in known], "radii": _rounded(radii, math.floor)}


def _of_size(known: Bounds) -> dict[str, Any]:
    return {
        "right": known.right.tolist(),
        "msp": _rounded(known.wrong_confidence("msp"), math.ceil),
        "margin": _rounded(known.wrong_confidence("margin"), math.ceil),
    }


def _rounded(values: Scores, towards: Any) -> list[float]:
    """To six decimals on the safe side."""
    return [towards(value * _DIGITS) / _DIGITS for value in values.double().cpu().tolist()]
