"""Files are read back and the model is asked again: about the points, and about the same points in 8 bits."""

from pathlib import Path

import torch

from demur.audit.conditions import Condition
from demur.audit.engine import Bench
from demur.audit.export.arrays import read_arrays
from demur.audit.export.figures import Facts, share
from demur.audit.export.points import MEASURED, Points, Rows, ask
from demur.shapes import Images, Labels, Scores

_ROUNDING = 1e-6


def reloaded(bench: Bench, path: Path) -> Facts:
    """How many rows get the answer that is written beside them, and by how much logits differ at most."""
    arrays = read_arrays(path)
    again = ask(bench.classifier, arrays["images"], bench.plan.batch)
    same = again.argmax(dim=1) == arrays["predicted"]
    return {
        "same": int(same.sum()),
        "of": len(same),
        "largest_difference": float((again - arrays["logits"]).abs().max()),
    }


def answers_to_bytes(bench: Bench, path: Path) -> tuple[Images, Labels]:
    """The images of a file of bytes, and the answers to them."""
    images = read_arrays(path)["images"].float() / 255
    return images, ask(bench.classifier, images, bench.plan.batch).argmax(dim=1)


def survivors(bench: Bench, condition: Condition, points: Points, rows: Rows, images: Images, answers: Labels) -> Facts:
    """Of the successful points, how many still fool the model when rounded to 8 bits, and what share is lost.

    `outside` counts survivors that rounding has carried out of the ball, by half a step a pixel at most; null where
    there is no ball that can be measured.
    """
    successful = torch.from_numpy(points.successful)
    wrong = answers != torch.tensor(points.table["label"].to_list())
    kept = successful & wrong
    eps = condition.severity if condition.norm in MEASURED else 0.0
    outside = int((kept & (_sizes(bench, condition, rows, images) > eps + _ROUNDING)).sum()) if eps else None
    return {
        "successful": int(successful.sum()),
        "survived": int(kept.sum()),
        "lost": share(~wrong[successful].numpy(), points.table.filter(points.successful)),
        "outside": outside,
    }


def _sizes(bench: Bench, condition: Condition, rows: Rows, images: Images) -> Scores:
    """How far the rounded images are from their clean ones, read a batch at a time."""
    order = torch.inf if condition.norm == "linf" else 2
    places = torch.split(torch.arange(len(rows)), bench.plan.batch)
    return torch.cat(
        [
            torch.linalg.vector_norm((images[at] - bench.load(rows[at.numpy()])[0].cpu()).flatten(1), ord=order, dim=1)
            for at in places
        ]
    )
