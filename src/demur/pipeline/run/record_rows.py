"""From images to rows of the record: as they are, corrupted, attacked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl
import torch
from torch import Tensor

from demur.attacks.core.attack_state import Outcome
from demur.attacks.core.losses import margin
from demur.attacks.core.objective import Objective
from demur.classifier import BoundClassifier
from demur.compact import items_at
from demur.data import Index
from demur.data.index import NO_LABEL
from demur.errors import ModelError
from demur.evidence import Evidence
from demur.pipeline.job import IndexRows, Job, finite
from demur.pipeline.plan.conditions import Condition, target_classes
from demur.randomness import Keys
from demur.records import BATCH_SIZE, META, SECOND, WEIGHT, frame, is_metadata
from demur.shapes import Images, Labels, Logits, Scores
from demur.signals import Composed, Signal


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
    def columns(self) -> Iterator[tuple[str, str, Scores]]:
        """Scores and their parts, with what they are."""
        yield from (("signal", name, scores) for name, scores in self.scores.items())
        yield from (("part", name, scores) for name, scores in self.parts.items())


def measure_clean(job: Job, condition: Condition, rows: IndexRows) -> pl.DataFrame:
    """Images as they are."""
    x, y = job.load(rows)
    return record_table(condition, identity(job, rows), y.cpu(), scores_of(job, x, job.keys(rows, condition.name)))


def measure_unknown(job: Job, condition: Condition, rows: IndexRows) -> pl.DataFrame:
    """Images of none of the classes: scored like others, with no label that an answer could be compared with."""
    x, _ = job.load(rows)
    return record_table(condition, identity(job, rows), None, scores_of(job, x, job.keys(rows, condition.name)))


def measure_corruption(job: Job, condition: Condition, rows: IndexRows) -> pl.DataFrame:
    """Images under a corruption."""
    assert condition.corruption is not None
    (x, y), keys = job.load(rows), job.keys(rows, condition.name)
    shown = scores_of(job, condition.corruption(x, keys), keys)
    return record_table(condition, identity(job, rows, condition), y.cpu(), shown)


def measure_attack(job: Job, condition: Condition, rows: IndexRows) -> pl.DataFrame:
    """Images under an attack; what the model answers to the points is known from it."""
    (x, y), keys = job.load(rows), job.keys(rows, condition.name)
    found = run_attack(condition, job.classifier, x, y, keys, batch=job.plan.batch)
    shown = scores_of(job, found.x, keys, found.logits.cpu())
    return record_table(condition, identity(job, rows, condition), y.cpu(), shown, found)


def run_attack(
    condition: Condition,
    classifier: BoundClassifier,
    x: Images,
    y: Labels,
    keys: Keys,
    *,
    batch: int,
    weights: Tensor | None = None,
) -> Outcome:
    """Run the attack of a condition; the direction of one along a line may be weighted, (rows, 1, height, width)."""
    attack = condition.attack
    assert attack is not None
    objective = Objective(classifier, attack.loss)
    if condition.target is None:
        outcome = attack.execute(objective, x, y, keys, keep=condition.keep, batch=batch, weights=weights)
    else:
        clean = torch.cat([objective.logits(part) for part in torch.split(x, batch)])
        target = target_classes(condition.target, classifier.classes, clean, y, keys)
        outcome = attack.execute(objective, x, y, keys, keep=condition.keep, batch=batch, target=target)
        outcome = replace(outcome, forwards=outcome.forwards + 1)
    if not objective.halves:
        return outcome
    return replace(outcome, extra={**outcome.extra, BATCH_SIZE: (min(objective.halves),) * len(x)})


def attack_columns(condition: Condition, outcome: Outcome) -> Mapping[str, list[object]]:
    """The record's columns on an attack, null where there is nothing to say."""
    found: dict[str, Tensor] = {
        "distance.linf": outcome.linf,
        "distance.l2": outcome.l2,
        "step": outcome.step,
        "flags": outcome.troubles,
    }
    if condition.norm == "l1":
        found["distance.l1"] = outcome.l1
    if condition.attack is not None and not condition.attack.stages:  # stages climb different losses
        found |= {"loss.start": outcome.loss_start, "loss.kept": outcome.loss_kept}
    if condition.keep == "nearest":
        found["epsilon.minimal"] = torch.where(outcome.fooled, outcome.size(str(condition.norm)), torch.nan)
        found["epsilon.censored"] = ~outcome.fooled
    columns = {name: or_null(values) for name, values in found.items()}
    return columns | {name: list(values) for name, values in outcome.extra.items()}


def scores_of(job: Job, x: Images, keys: Keys, logits: Logits | None = None) -> ForwardScores:
    """What the model answers to images and how every signal scores that, batch by batch."""
    signals = job.ready
    with torch.no_grad():
        batches = [score_batch(signals, evidence) for evidence in job.evidence(x, keys, logits)]
    return _defined(ForwardScores.of(batches))


def _defined(shown: ForwardScores) -> ForwardScores:
    """Scores, all of which are numbers: infinity among them.

    Raises:
        ModelError: some are NaN.
    """
    for name, scores in shown.scores.items():
        if scores.isnan().any():
            raise ModelError(
                f"a score must be a number; signal {name!r} gave NaN on {int(scores.isnan().sum())} of {len(scores)} "
                "images. Correct the signal, or leave it out of the plan."
            )
    return shown


def score_batch(signals: Mapping[str, Signal], evidence: Evidence) -> ForwardScores:
    """What the model answered to one batch and how some signals score it."""
    logits = finite(evidence.logits)
    composed = {name: signal for name, signal in signals.items() if isinstance(signal, Composed)}
    parts = {name: signal.parts(evidence) for name, signal in composed.items()}
    scores = {
        name: composed[name].of_parts(parts[name], evidence) if name in composed else signal(evidence)
        for name, signal in signals.items()
    }
    return ForwardScores(
        logits=logits,
        scores={name: score.cpu() for name, score in scores.items()},
        spent=evidence.spent,
        parts={f"{name}.{part}": value.cpu().double() for name in parts for part, value in parts[name].items()},
    )


def record_table(
    condition: Condition,
    identity: Mapping[str, Sequence[object]],
    labels: Labels | None,
    shown: ForwardScores,
    attacked: Outcome | None = None,
    more: Mapping[str, Tensor] | None = None,
) -> pl.DataFrame:
    """The shard of one condition; rows whose image could not be read are null wherever something was measured.

    Args:
        condition: what was done to the images.
        identity: `sample_id`, `split`, `label`, `group`, `error` of every row, and its metadata.
        labels: labels as a tensor; None where there are none, and then there is no margin.
        shown: what the model showed on the final images.
        attacked: what the attack did, for attacks.
        more: what maps and occlusions showed, by column.
    """
    logits, rows = shown.logits, len(identity["error"])
    forwards, backwards = shown.spent if attacked is None else shown.spent + _spent_by(attacked)
    columns: dict[str, object] = {
        **{name: values for name, values in identity.items() if name != "error"},
        "condition": [condition.name] * rows,
        "severity": [condition.severity] * rows,
        "norm": [condition.norm] * rows,
        "predicted": logits.argmax(dim=1).tolist(),
        "margin": [None] * rows if labels is None else (-margin(logits, labels)).tolist(),
        "forwards": forwards.tolist(),
        "backwards": backwards.tolist(),
        "error": identity["error"],
        **({} if attacked is None else attack_columns(condition, attacked)),
        **{name: or_null(values) for name, values in (more or {}).items()},
    }
    shard = frame(
        columns,
        pl.DataFrame(logits.numpy().astype("float32"), schema=[f"logit.{k}" for k in range(logits.shape[1])]),
        pl.DataFrame({f"{kind}.{name}": scores.numpy() for kind, name, scores in shown.columns}),
    )
    return _blank(shard) if any(identity["error"]) else shard


def _spent_by(outcome: Outcome) -> Tensor:
    return torch.stack([outcome.forwards, outcome.backwards]).cpu()


_KEPT = ("sample_id", "split", "label", "group", "condition", "severity", "norm", "error")


def _blank(shard: pl.DataFrame) -> pl.DataFrame:
    """Null what was measured on stand-in images."""
    measured = [name for name in shard.columns if name not in _KEPT and not is_metadata(name)]
    return shard.with_columns(pl.when(pl.col("error").is_null()).then(pl.col(name)).alias(name) for name in measured)


def failure_table(job: Job, condition: Condition, rows: IndexRows, reason: str) -> pl.DataFrame:
    """Rows on which the model failed: the reason, and nothing measured."""
    known, count = identity(job, rows, condition), len(rows)
    unreadable = [error is not None for error in known["error"]]
    columns: dict[str, object] = {
        **known,
        "condition": [condition.name] * count,
        "severity": [condition.severity] * count,
        "norm": [condition.norm] * count,
        "error": [error or reason for error in known["error"]],
        BATCH_SIZE: [None if skipped else count for skipped in unreadable],
    }
    signals = job.signals if condition.scored else ()
    return frame(
        columns,
        pl.DataFrame(
            {f"logit.{k}": pl.Series([None] * count, dtype=pl.Float32) for k in range(len(job.source.classes))}
        ),
        pl.DataFrame({f"signal.{name}": pl.Series([None] * count, dtype=pl.Float64) for name in signals}),
    )


def identity(job: Job, rows: IndexRows, condition: Condition | None = None) -> dict[str, list[object]]:
    """What the record says of rows whatever is measured on them; of a condition also how they were drawn for it."""
    index, drawn = job.index, None if condition is None else job.drawn(condition)
    return {
        "sample_id": items_at(index.sample_ids, rows),
        "split": items_at(index.splits, rows),
        "label": [None if label == NO_LABEL else label for label in index.labels[rows].tolist()],
        "group": items_at(index.groups, rows),
        "error": items_at(index.errors, rows),
        **_metadata(index, rows),
        **({} if drawn is None else drawn.of(rows)),
    }


def _metadata(index: Index, rows: IndexRows) -> dict[str, list[object]]:
    """Second labels, label weights and meta columns of some index rows; only those the data set has."""
    columns: dict[str, list[object]] = {
        f"{META}{name}": [_text(value) for value in items_at(values, rows)]
        for name, values in sorted(index.meta.items())
    }
    for name, values, some in ((SECOND, index.labels2, index.has_labels2), (WEIGHT, index.weights, index.has_weights)):
        if some:
            columns[name] = items_at(values, rows)
    return columns


def _text(value: str | float | None) -> str | None:
    return f"{value:.15g}" if isinstance(value, float) else value


def or_null(values: Tensor) -> list[object]:
    """The values with NaN, which is nothing, as null."""
    return [None if value != value else value for value in values.tolist()]
