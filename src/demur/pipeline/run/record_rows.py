"""From what the model answered to rows of the record."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from demur.attacks.core.attack_state import Outcome
from demur.attacks.core.losses import margin
from demur.data import Index
from demur.pipeline.plan.conditions import Condition
from demur.pipeline.run.attack_rows import AttackResult, or_null
from demur.records import META, SECOND, WEIGHT, frame, is_metadata
from demur.shapes import Labels, Logits, Scores


@dataclass(frozen=True, eq=False)
class ForwardScores:
    """What the model answered, how each signal scored it and of what parts, and the passes (2, rows) this took."""

    logits: Logits
    scores: Mapping[str, Scores]
    spent: Tensor
    parts: Mapping[str, Scores] = field(default_factory=dict)

    @classmethod
    def of(cls, parts: Sequence["ForwardScores"]) -> "ForwardScores":
        """All rows of several batches."""
        return cls(
            logits=torch.cat([part.logits for part in parts]),
            scores={name: torch.cat([part.scores[name] for part in parts]) for name in parts[0].scores},
            parts={name: torch.cat([part.parts[name] for part in parts]) for name in parts[0].parts},
            spent=torch.cat([part.spent for part in parts], dim=1),
        )

    @property
    def measured(self) -> Iterator[tuple[str, str, Scores]]:
        """Scores and their parts, with what they are."""
        yield from (("signal", name, scores) for name, scores in self.scores.items())
        yield from (("part", name, scores) for name, scores in self.parts.items())


def record_table(
    condition: Condition,
    identity: Mapping[str, Sequence[object]],
    labels: Labels,
    shown: ForwardScores,
    attacked: AttackResult | None,
    errors: Sequence[str | None],
    looked: Mapping[str, Tensor] | None = None,
) -> pl.DataFrame:
    """The shard of one condition; rows whose image could not be read are null wherever something was measured.

    Args:
        condition: what was done to the images.
        identity: `sample_id`, `split`, `label`, `group` of every row, and what else is known of it.
        labels: labels as a tensor.
        shown: what the model showed on the final images.
        attacked: what the attack did, for attacks.
        errors: why a row could not be read, else None.
        looked: what maps and hidden parts showed, by column.
    """
    logits, rows = shown.logits, len(labels)
    forwards, backwards = shown.spent if attacked is None else shown.spent + _spent_by(attacked.outcome)
    columns: dict[str, object] = {
        **identity,
        "condition": [condition.name] * rows,
        "severity": [condition.severity] * rows,
        "norm": [condition.norm] * rows,
        "predicted": logits.argmax(dim=1).tolist(),
        "margin": (-margin(logits, labels)).tolist(),
        "forwards": forwards.tolist(),
        "backwards": backwards.tolist(),
        "error": list(errors),
        **({} if attacked is None else attacked.columns(condition)),
        **{name: or_null(values) for name, values in (looked or {}).items()},
    }
    shard = frame(
        columns,
        pl.DataFrame(logits.numpy().astype("float32"), schema=[f"logit.{k}" for k in range(logits.shape[1])]),
        pl.DataFrame({f"{kind}.{name}": scores.numpy() for kind, name, scores in shown.measured}),
    )
    return _blank(shard) if any(errors) else shard


def _spent_by(outcome: Outcome) -> Tensor:
    return torch.stack([outcome.forwards, outcome.backwards]).cpu()


_KEPT = ("sample_id", "split", "label", "group", "condition", "severity", "norm", "error")


def _blank(shard: pl.DataFrame) -> pl.DataFrame:
    """Null what was measured on stand-in images."""
    measured = [name for name in shard.columns if name not in _KEPT and not is_metadata(name)]
    return shard.with_columns(pl.when(pl.col("error").is_null()).then(pl.col(name)).alias(name) for name in measured)


def metadata_columns(index: Index, rows: NDArray[np.int64]) -> dict[str, list[object]]:
    """Second labels, label weights and meta columns of some index rows; only those the data set has."""
    columns: dict[str, list[object]] = {
        f"{META}{name}": [_text(values[row]) for row in rows] for name, values in sorted(index.meta.items())
    }
    for name, values in ((SECOND, index.labels2), (WEIGHT, index.weights)):
        if _has(values):
            columns[name] = [values[row] for row in rows]
    return columns


def _has(values: Sequence[object]) -> bool:
    return any(value is not None for value in values)


def _text(value: str | float | None) -> str | None:
    return f"{value:.15g}" if isinstance(value, float) else value
