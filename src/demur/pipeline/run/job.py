"""Everything a shard needs besides its own rows; one shard of one condition: images in, record rows out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import TypeAlias

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from demur.classifier import Classifier
from demur.data import Index, Source
from demur.data.source import Row, shaped
from demur.errors import DataError, InputError
from demur.evidence import Evidence
from demur.pipeline.plan.conditions import Condition
from demur.pipeline.plan.plan_file import Plan
from demur.pipeline.run.attack_rows import AttackResult, run_attack
from demur.pipeline.run.record_rows import ForwardScores, metadata_columns, record_table
from demur.randomness import Keys
from demur.shapes import Flags, Images, Labels, Logits
from demur.signals import LOGITS, AnySignal, Composed, Fittable, Needs, Signal, needs_of

IndexRows: TypeAlias = NDArray[np.int64]
"""Positions in the index."""

SHARD = 512
"""Rows per shard: at least four batches, so that an active set has rows to refill from."""


@dataclass(frozen=True)
class Job:
    """Everything a shard needs besides its own rows. `fitted` has those of the `signals` that had to be fitted."""

    plan: Plan
    classifier: Classifier
    source: Source
    index: Index
    signals: Mapping[str, AnySignal]
    fitted: Mapping[str, Signal] = field(default_factory=dict)

    @property
    def needs(self) -> Needs:
        """What all signals need together."""
        return reduce(or_, map(needs_of, self.signals.values()), LOGITS)

    @property
    def ready(self) -> Mapping[str, Signal]:
        """The signals, fitted where they had to be."""
        return {
            name: self.fitted[name] if isinstance(signal, Fittable) else signal for name, signal in self.signals.items()
        }

    def measure(self, condition: Condition, rows: IndexRows) -> pl.DataFrame:
        """The record rows of some index rows under a condition."""
        images, labels = self.load(rows)
        keys = self.keys(rows, condition.name)
        final, found = self._apply(condition, images, labels, keys)
        with torch.no_grad():
            answers = None if found is None else found.outcome.logits.cpu()
            seen = [self._shown(evidence) for evidence in self.evidence(final, keys, answers)]
        return record_table(
            condition, self.identity(rows), labels.cpu(), ForwardScores.of(seen), found, self.errors(rows)
        )

    def evidence(
        self, x: Images, keys: Keys, logits: Logits | None = None, groups: Sequence[str] | None = None
    ) -> Iterator[Evidence]:
        """What the model shows of images, batch by batch."""
        needs = self.needs
        for batch in torch.split(torch.arange(len(x)), self.plan.batch):
            part = slice(int(batch[0]), int(batch[-1]) + 1)
            yield Evidence(
                self.classifier,
                x[part],
                needs.layers,
                None if logits is None else logits[part],
                features=needs.features,
                keys=keys.rows(batch.tolist()),
                groups=None if groups is None else groups[part],
                check=False,
            )

    def shown(self, condition: Condition, row: int) -> Images:
        """One image under a condition, as it is measured, (channels, height, width)."""
        x, y = self.load([row])
        return self._apply(condition, x, y, self.keys([row], condition.name))[0][0]

    def _shown(self, seen: Evidence) -> ForwardScores:
        parts = {name: signal.parts(seen) for name, signal in self.ready.items() if isinstance(signal, Composed)}
        scores = {
            name: signal.of_parts(parts[name], seen) if isinstance(signal, Composed) else signal(seen)
            for name, signal in self.ready.items()
        }
        return ForwardScores(
            logits=seen.logits,
            scores={name: score.cpu() for name, score in scores.items()},
            spent=seen.spent,
            parts={f"{name}.{part}": value.cpu().double() for name in parts for part, value in parts[name].items()},
        )

    def load(self, rows: Sequence[int] | IndexRows) -> tuple[Images, Labels]:
        """Images (rows, channels, height, width) and labels; an unreadable image is a grey stand-in, nulled later."""
        positions = [int(self.index.positions[row]) for row in rows]
        grey = torch.full(self.source.input_shape, 0.5)
        seen = [shaped(row, self.source.input_shape) for row in self.source.read(positions)]
        self._check_unchanged(rows, seen)
        images = [grey if row.image is None else row.image for row in seen]
        labels = torch.from_numpy(self.index.labels[np.asarray(rows)].astype("int64"))
        device = self.classifier.device
        return torch.stack(images).to(device), labels.to(device)

    def marks(self, rows: Sequence[int] | IndexRows) -> tuple[Tensor, Flags]:
        """Where the data say the object is, (rows, height, width), and which images have such a mark."""
        height, width = self.source.input_shape[1:]
        found = [row.mark for row in self.source.read([int(self.index.positions[row]) for row in rows])]
        nowhere = torch.zeros(height, width, dtype=torch.bool)
        masks = torch.stack([nowhere if mark is None else mark for mark in found])
        return masks.to(self.classifier.device), masks.flatten(1).any(dim=1).to(self.classifier.device)

    def keys(self, rows: Sequence[int] | IndexRows, name: str) -> Keys:
        """What is drawn for some rows under something of a name."""
        return Keys.of(self.plan.seed, [self.index.sample_ids[row] for row in rows], name)

    def identity(self, rows: IndexRows) -> dict[str, list[object]]:
        """What the record says of rows whatever is measured on them."""
        return {
            "sample_id": [self.index.sample_ids[row] for row in rows],
            "split": [self.index.splits[row] for row in rows],
            "label": self.index.labels[rows].tolist(),
            "group": [self.index.groups[row] for row in rows],
            **metadata_columns(self.index, rows),
        }

    def _check_unchanged(self, rows: Sequence[int] | IndexRows, seen: Sequence[Row]) -> None:
        """What has gone since the run began must not be measured as if it were grey."""
        for row, now in zip(rows, seen, strict=True):
            if now.image is None and self.index.errors[row] is None:
                raise DataError(
                    f"image {now.sample_id!r} could be read when this run began and cannot be read any more: "
                    f"{now.error}. Bring it back, and the same command continues."
                )

    def _apply(self, condition: Condition, x: Images, y: Labels, keys: Keys) -> tuple[Images, AttackResult | None]:
        if condition.attack is not None:
            found = run_attack(condition, self.classifier, x, y, keys, batch=self.plan.batch)
            return found.outcome.x, found
        if condition.corruption is not None:
            return condition.corruption(x, keys), None
        return x, None

    def errors(self, rows: IndexRows) -> list[str | None]:
        """Why rows could not be read."""
        return [self.index.errors[row] for row in rows]


def on_device(classifier: Classifier, device: str) -> Classifier:
    """A copy of the classifier on a device.

    Raises:
        InputError: there is no such device.
    """
    try:
        return classifier.to(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"the model cannot be put on device {device!r}: {reason}. Try --device cpu.") from None
