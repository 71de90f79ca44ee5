"""Where trials are made: a few of the attacked images, the model, and the count of its passes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from demur.attacks.core.attack import Attack
from demur.attacks.core.attack_state import Keep, Outcome
from demur.attacks.core.objective import Objective
from demur.classifier import BoundClassifier
from demur.pipeline.job import Job, finite
from demur.randomness import Keys
from demur.shapes import Flags, Images, Logits, Scores

EVERYTHING = 0.5
"""Radius, in pixel fractions, of a ball that holds a uniformly grey image whatever it is drawn round."""


@dataclass(frozen=True)
class Finding:
    """What one trial found: the samples it speaks of, and how many were tried."""

    name: str
    samples: tuple[str, ...]
    of: int


class TrialSample:
    """The sampled images; every trial asks the model through here, so that its passes are counted.

    Args:
        job: model and data.
        rows: index rows of the sample.
    """

    def __init__(self, job: Job, rows: NDArray[np.int64]) -> None:
        self.x, self.y = job.load(rows)
        self.ids = [job.index.sample_ids[row] for row in rows]
        self.keys = Keys.of(job.plan.seed, self.ids, "trials")
        self.classifier, self.batch = job.classifier, job.plan.batch
        self.forwards = self.backwards = 0

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def clean(self) -> Logits:
        """Logits of the images as they are."""
        return finite(self.logits(self.x))

    def logits(self, x: Images, batch: int | None = None) -> Logits:
        """Logits without gradients, in batches of the plan's size or another."""
        self.forwards += len(x)
        objective = Objective(self.classifier)
        return torch.cat([objective.logits(part) for part in torch.split(x, batch or self.batch)])

    def gradient(self, loss: str) -> Images:
        """Gradient of a loss at the clean images."""
        self.forwards += len(self)
        self.backwards += len(self)
        objective = Objective(self.classifier, loss)
        parts = zip(torch.split(self.x, self.batch), torch.split(self.y, self.batch), strict=True)
        return torch.cat([objective.climb(x, y)[1] for x, y in parts])

    def attacked(
        self,
        attack: Attack,
        rows: Tensor | None = None,
        *,
        keep: Keep = "first",
        trace: bool = False,
        draw: str = "attack",
        classifier: BoundClassifier | None = None,
    ) -> Outcome:
        """What an attack does to some rows, by default all; another `draw` takes other random numbers."""
        chosen = torch.arange(len(self), device=self.x.device) if rows is None else rows
        objective = Objective(classifier or self.classifier, attack.loss)
        keys = self.keys.named(draw).rows(chosen.tolist())
        x, y = self.x[chosen], self.y[chosen]
        outcome = attack.execute(objective, x, y, keys, keep=keep, batch=self.batch, trace=trace)
        self.forwards += int(outcome.forwards.sum())
        self.backwards += int(outcome.backwards.sum())
        return outcome

    def found(self, name: str, flags: Flags) -> Finding:
        """The rows of the sample that a trial speaks of."""
        return Finding(name, tuple(self.ids[row] for row in flags.nonzero().squeeze(1).tolist()), len(self))

    def fell(self, name: str, attack: Attack, standing: Tensor, draw: str = "attack") -> Finding:
        """Those of some rows that an attack fools."""
        flags = torch.zeros(len(self), dtype=torch.bool, device=self.x.device)
        if len(standing):
            flags[standing] = self.attacked(attack, standing, draw=draw).fooled
        return self.found(name, flags)


def scale_of(values: Tensor) -> Scores:
    """The size of each row's values, not less than that of a typical row."""
    largest = values.abs().flatten(1).amax(dim=1)
    return largest.clamp(min=float(largest.median())).clamp(min=torch.finfo(values.dtype).tiny)


def with_larger_eps(attack: Attack, sample: Sequence[int]) -> Attack:
    """The same attack in a ball that holds a grey image; a step of its own grows with the ball."""
    everything = EVERYTHING if attack.norm == "linf" else EVERYTHING * float(np.prod(sample)) ** 0.5
    grown = {"eps": everything}
    step = getattr(attack, "step", None)
    if step is not None:
        grown["step"] = step * everything / (attack.eps or everything)
    return with_fields(attack, **grown)


def with_fields(attack: Attack, **fields: Any) -> Attack:
    """The same attack with other fields; attacks are dataclasses, which their protocol cannot say."""
    return replace(cast(Any, attack), **fields)
