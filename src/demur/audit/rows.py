"""From what the model showed to rows of the record."""

from collections.abc import Mapping, Sequence

import polars as pl
import torch
from torch import Tensor

from demur.attacks.losses import margin
from demur.attacks.outcome import Outcome
from demur.audit.conditions import Condition
from demur.evidence import Evidence
from demur.records import frame, is_known
from demur.shapes import Labels
from demur.signals import Signal


def table(
    condition: Condition,
    identity: Mapping[str, Sequence[object]],
    labels: Labels,
    evidence: Evidence,
    signals: Mapping[str, Signal],
    outcome: Outcome | None,
    errors: Sequence[str | None],
) -> pl.DataFrame:
    """The shard of one condition; rows whose image could not be read are null wherever something was measured.

    Args:
        condition: what was done to the images.
        identity: `sample_id`, `role`, `label`, `group` of every row, and what else is known of it.
        labels: labels as a tensor.
        evidence: what the model shows on the final images.
        signals: canonical name → signal.
        outcome: what the attack did, for attacks.
        errors: why a row could not be read, else None.
    """
    logits = evidence.logits
    rows = len(labels)
    columns: dict[str, object] = {
        **identity,
        "condition": [condition.name] * rows,
        "severity": [condition.severity] * rows,
        "norm": [condition.norm] * rows,
        "predicted": logits.argmax(dim=1).tolist(),
        "margin": (-margin(logits, labels)).tolist(),
        "forwards": [1] * rows,
        "backwards": [0] * rows,
        "error": list(errors),
        **({} if outcome is None else _attacked(condition, outcome)),
    }
    shard = frame(
        columns,
        pl.DataFrame(logits.numpy().astype("float32"), schema=[f"logit.{k}" for k in range(logits.shape[1])]),
        pl.DataFrame({f"signal.{name}": signal(evidence).numpy() for name, signal in signals.items()}),
    )
    return _blank(shard) if any(errors) else shard


def _attacked(condition: Condition, outcome: Outcome) -> dict[str, list[object]]:
    columns = {
        "distance.linf": outcome.linf,
        "distance.l2": outcome.l2,
        "loss.start": outcome.loss_start,
        "loss.kept": outcome.loss_kept,
        "step": outcome.step,
        "flags": outcome.troubles,
        "forwards": outcome.forwards,
        "backwards": outcome.backwards,
    }
    if condition.keep == "nearest":
        size = outcome.linf if condition.norm == "linf" else outcome.l2
        columns["epsilon.minimal"] = torch.where(outcome.fooled, size, torch.nan)
        columns["epsilon.censored"] = ~outcome.fooled
    return {name: _nulled(values) for name, values in columns.items()}


def _nulled(values: Tensor) -> list[object]:
    return [None if value != value else value for value in values.tolist()]


_KEPT = ("sample_id", "role", "label", "group", "condition", "severity", "norm", "error")


def _blank(shard: pl.DataFrame) -> pl.DataFrame:
    """Null what was measured on stand-in images."""
    measured = [name for name in shard.columns if name not in _KEPT and not is_known(name)]
    return shard.with_columns(pl.when(pl.col("error").is_null()).then(pl.col(name)).alias(name) for name in measured)
