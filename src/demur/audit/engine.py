"""One shard of one condition: images in, record rows out. A pure function of the plan and the shard's rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from demur.attacks.harness import run
from demur.attacks.objective import Objective
from demur.attacks.outcome import Outcome
from demur.audit.conditions import Condition
from demur.audit.known import known
from demur.audit.plan import Plan
from demur.audit.rows import table
from demur.classifier import Classifier
from demur.data import Index, Source
from demur.data.source import Row, shaped
from demur.errors import DataError
from demur.evidence import Evidence
from demur.randomness import Keys
from demur.shapes import Images, Labels
from demur.signals import Signal

SHARD = 512
"""Rows per shard: at least four batches, so that an active set has rows to refill from."""


@dataclass(frozen=True)
class Bench:
    """Everything a shard needs besides its own rows."""

    plan: Plan
    classifier: Classifier
    source: Source
    index: Index
    signals: Mapping[str, Signal]

    def measure(self, condition: Condition, rows: NDArray[np.int64]) -> pl.DataFrame:
        """The record rows of some index rows under a condition."""
        images, labels = self.load(rows)
        keys = Keys.of(self.plan.seed, [self.index.sample_ids[row] for row in rows], condition.name)
        final, outcome = self._apply(condition, images, labels, keys)
        with torch.no_grad():
            logits = self._logits(final) if outcome is None else outcome.logits
            evidence = Evidence(self.classifier, final, logits=logits.cpu())
            return table(
                condition, self._identity(rows), labels.cpu(), evidence, self.signals, outcome, self._errors(rows)
            )

    def load(self, rows: Sequence[int] | NDArray[np.int64]) -> tuple[Images, Labels]:
        """Images (rows, channels, height, width) and labels; an unreadable image is a grey stand-in, nulled later."""
        positions = [int(self.index.positions[row]) for row in rows]
        grey = torch.full(self.source.input_shape, 0.5)
        seen = [shaped(row, self.source.input_shape) for row in self.source.read(positions)]
        self._check_unchanged(rows, seen)
        images = [grey if row.image is None else row.image for row in seen]
        labels = torch.from_numpy(self.index.labels[np.asarray(rows)].astype("int64"))
        device = self.classifier.device
        return torch.stack(images).to(device), labels.to(device)

    def _check_unchanged(self, rows: Sequence[int] | NDArray[np.int64], seen: Sequence[Row]) -> None:
        """What has gone since the run began must not be measured as if it were grey."""
        for row, now in zip(rows, seen, strict=True):
            if now.image is None and self.index.errors[row] is None:
                raise DataError(
                    f"image {now.sample_id!r} could be read when this run began and cannot be read any more: "
                    f"{now.error}. Bring it back, and the same command continues."
                )

    def _apply(self, condition: Condition, x: Images, y: Labels, keys: Keys) -> tuple[Images, Outcome | None]:
        if condition.attack is not None:
            objective = Objective(self.classifier, condition.attack.loss)
            outcome = run(condition.attack, objective, x, y, keys, keep=condition.keep, batch=self.plan.batch)
            return outcome.x, outcome
        if condition.corruption is not None:
            return condition.corruption(x, keys), None
        return x, None

    def _logits(self, x: Images) -> torch.Tensor:
        return torch.cat([self.classifier.logits(part) for part in torch.split(x, self.plan.batch)])

    def _identity(self, rows: NDArray[np.int64]) -> dict[str, list[object]]:
        return {
            "sample_id": [self.index.sample_ids[row] for row in rows],
            "role": [self.index.roles[row] for row in rows],
            "label": self.index.labels[rows].tolist(),
            "group": [self.index.groups[row] for row in rows],
            **known(self.index, rows),
        }

    def _errors(self, rows: NDArray[np.int64]) -> list[str | None]:
        return [self.index.errors[row] for row in rows]
