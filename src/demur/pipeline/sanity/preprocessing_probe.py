"""Whether the model is shown the images as it was trained on them: tune images are asked again in other ways."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from demur.errors import DataError
from demur.foreign import is_of_the_model, is_out_of_memory, reason
from demur.pipeline.drawn_rows import by_hash
from demur.pipeline.job import IndexRows, Job
from demur.pipeline.sanity.decoding_variants import decoding_variants
from demur.pipeline.sanity.pixel_variants import pixel_variants
from demur.shapes import Images, Labels

_FIRST, _FEWER = 64, 0.2
"""A variant that is right on a fifth fewer of the first 64 images is not asked about the others."""

_CAP = 30.0
"""Nats: a probability below 1e-13 counts as that."""


class Variant(Protocol):
    """Another way to show the model the same images."""

    @property
    def name(self) -> str:
        """A noun, for tables."""
        ...

    @property
    def remedy(self) -> str:
        """What to do where it fits better, with the option that does it."""
        ...

    @property
    def adapted(self) -> bool:
        """Whether images that are darker, lighter or paler than those of training would explain it as well."""
        ...

    def images(self, x: Images, positions: NDArray[np.int64]) -> Images:
        """The images that are at these positions of the source as the variant has them."""
        ...


@dataclass
class _Tally:
    """What was answered under one variant, image by image; `fault` says why it was given up."""

    right: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    fault: str | None = None

    def add(self, right: list[int], losses: list[float]) -> None:
        self.right += right
        self.losses += losses


def probe_rows(job: Job) -> IndexRows:
    """The readable tune rows that are asked again, those with the smallest content hashes first."""
    return by_hash(job.index, job.index.rows_of("tune"))[: job.plan.checks.preprocessing]


def preprocessing_facts(job: Job) -> dict[str, Any]:
    """The content of `facts/preprocessing.json`: for every variant, which images were right and their log-losses.

    Losses are in nats; a variant has the first so many of `sample_ids`.
    """
    rows = probe_rows(job)
    declared, tallies = _Tally(), dict[str, tuple[Variant, _Tally]]()
    for number, part in enumerate(_parts(rows, job.plan.batch)):
        x, y = job.load(part)
        declared.add(*_answers(job, x, y))
        if not number:
            tallies = {each.name: (each, _Tally()) for each in _variants(job, x)}
        for variant, tally in tallies.values():
            if _goes_on(tally, declared, len(part)):
                _ask(job, variant, tally, part, x, y)
    return {
        "forwards": len(declared.right) + sum(len(tally.right) for _, tally in tallies.values()),
        "sample_ids": [job.index.sample_ids[row] for row in rows],
        "right": declared.right,
        "losses": declared.losses,
        "variants": [
            {
                "name": name,
                "remedy": variant.remedy,
                "adapted": variant.adapted,
                "right": t.right,
                "losses": t.losses,
                "fault": t.fault,
            }
            for name, (variant, t) in tallies.items()
        ],
    }


def _variants(job: Job, sample: Images) -> tuple[Variant, ...]:
    """Those of files first: of two that come to the same, an option of the address mends it."""
    return (*decoding_variants(job.source), *pixel_variants(job.classifier.contract, sample))


def _parts(rows: IndexRows, batch: int) -> Iterator[IndexRows]:
    """The first few, then batches of the others."""
    first = min(_FIRST, batch)
    if len(rows):
        yield rows[:first]
    for start in range(first, len(rows), batch):
        yield rows[start : start + batch]


def _goes_on(tally: _Tally, declared: _Tally, coming: int) -> bool:
    """Whether a variant was asked about all images until now, and may still be the better one."""
    before = len(declared.right) - coming
    if tally.fault is not None or len(tally.right) < before:
        return False
    return sum(tally.right) >= sum(declared.right[:before]) - _FEWER * before


def _ask(job: Job, variant: Variant, tally: _Tally, rows: IndexRows, x: Images, y: Labels) -> None:
    """Ask about some rows; what cannot be asked, or makes no difference, is told of and not asked again."""
    try:
        images = variant.images(x, job.index.positions[rows])
        if not tally.right and torch.equal(images, x):
            tally.fault = f"it changes none of the first {len(x)} images"
        else:
            tally.add(*_answers(job, images, y))
    except DataError as error:
        tally.fault = reason(error)
    except BaseException as error:
        if not is_of_the_model(error) or is_out_of_memory(error):
            raise
        tally.fault = reason(error)


def _answers(job: Job, x: Images, y: Labels) -> tuple[list[int], list[float]]:
    """Which images are answered right, and their log-losses; an answer that is no number is wrong and sure."""
    with torch.no_grad():
        logits = torch.cat([job.classifier.logits(part) for part in torch.split(x, job.plan.batch)]).double()
    finite = logits.isfinite().all(dim=1)
    losses = functional.cross_entropy(logits, y, reduction="none").nan_to_num(_CAP, _CAP).clamp(max=_CAP)
    losses = torch.where(finite, losses, torch.full_like(losses, _CAP))
    right = (logits.argmax(dim=1) == y) & finite
    return right.int().tolist(), [float(f"{loss:.5g}") for loss in losses.tolist()]
