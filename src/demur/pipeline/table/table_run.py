"""A run folder from a table of answers, so that every part of the report that needs no images can be read from it."""

import hashlib
import math
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from demur.pipeline.plan.plan_file import Plan
from demur.pipeline.plan.plan_tables import Conditions, DataPlan, ModelPlan, Policies, Signals
from demur.pipeline.run.out_folders import refuse_others
from demur.pipeline.run.run_writer import open_run, try_folder
from demur.pipeline.table.answers import Answers
from demur.pipeline.table.columns import LOGIT, SIGNAL
from demur.pipeline.table.logit_scores import LOGIT_SCORES
from demur.pipeline.table.table_certificate import TableCertificate, sample_ids
from demur.pipeline.table.table_splits import table_splits
from demur.policies import Tolerance, dump_policy
from demur.records import SCHEMA_VERSION, WEIGHT, EncodedShard, frame
from demur.registry import call_of

SHARD = 50_000
"""Rows of a shard: these are not measured, so there is no work that a smaller one would save."""

_KINDS = {"certified": "risk", "certified_by_class": "class", "capacity": "capacity"}
_UNITS = {"msp": "probability", "margin": "probability", "entropy": "nats", "max_logit": "logits", "energy": "logits"}


def write_table_run(answers: Answers, found: TableCertificate, policy: str, tolerance: Tolerance, out: Path) -> Path:
    """Write the rows of a table, and what was certified on them, as a finished run.

    Args:
        answers: the table.
        found: what it supports.
        policy: the name of what was to be guaranteed, as in a plan.
        tolerance: how far its score may move.
        out: the run folder.

    Raises:
        InputError: the folder cannot be written.
        RunError: it belongs to another table or another policy.
    """
    refuse_others(out)
    try_folder(out)
    plan = table_plan(answers, policy)
    splits = table_splits(answers)
    with open_run(out, plan) as folder:
        folder.write_json("run.json", _facts(answers, splits, plan))
        folder.write_json("facts/preflight.json", [])
        folder.log("started")
        for number, table in enumerate(_shards(answers, splits)):
            name = f"c000-s{number:04d}"
            folder.add(name, "clean", EncodedShard.of(table, name))
        stated = {"name": found.signal, "tolerance": asdict(tolerance), "ways": ["stated"], "refused": {}}
        folder.write_json("facts/tolerances.json", [stated])
        folder.write_json(
            "facts/policies.json",
            [{"name": policy, "signal": found.signal, **_fitted(found, _KINDS[call_of(policy).name])}],
        )
        folder.write_json("facts/gallery.json", [])
        folder.log("finished", seconds=0.0)
        folder.finish()
    return out


def table_plan(answers: Answers, policy: str) -> Plan:
    """The plan that stands for a table: nothing but its rows as they are."""
    return Plan(
        model=ModelPlan(address="table"),
        data=DataPlan(address=f"table:{answers.path}"),
        conditions=Conditions(use=("clean",)),
        signals=Signals(use=answers.signals),
        policies=Policies(use=(policy,)),
    )


def _fitted(found: TableCertificate, kind: str) -> dict[str, Any]:
    tune = found.counts.get("tune", 0)
    policy = found.policy
    if policy is not None:
        return {"tune": tune, "policy": dump_policy(policy)}
    values = asdict(found.answer).items()
    refusal = {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in values}
    return {"tune": tune, "refusal": {**refusal, "kind": kind}}


def _shards(answers: Answers, splits: np.ndarray[Any, Any]) -> Iterator[pl.DataFrame]:
    """The rows that serve something, then those that were left out, with the reason."""
    kept = np.flatnonzero(splits != "")
    for start in range(0, len(kept), SHARD):
        rows = kept[start : start + SHARD]
        yield _rows(answers.rows(rows), splits[rows])
    names = [*answers.left_out]
    for start in range(0, len(names), SHARD):
        yield _failures(answers, names[start : start + SHARD])


def _rows(part: Answers, splits: np.ndarray[Any, Any]) -> pl.DataFrame:
    logits = {} if part.logits is None else {f"{LOGIT}{k}": part.logits[:, k] for k in range(len(part.classes))}
    columns = {
        "sample_id": sample_ids(part),
        "split": splits.tolist(),
        "label": part.label,
        "predicted": part.predicted,
        "condition": ["clean"] * len(part),
        "forwards": np.zeros(len(part), np.int32),
        "backwards": np.zeros(len(part), np.int32),
        **({} if part.group is None else {"group": part.group.tolist()}),
        **({} if part.weight is None else {WEIGHT: part.weight}),
    }
    signals = {f"{SIGNAL}{name}": part.scores(name) for name in part.signals}
    return frame(columns, pl.DataFrame(logits), pl.DataFrame(signals))


def _failures(answers: Answers, rows: list[int]) -> pl.DataFrame:
    """Rows of the table that were left out; they are counted as certify rows, and take part in nothing."""
    empty = [None] * len(rows)
    columns = {
        "sample_id": [f"row {row}" for row in rows],
        "split": ["certify"] * len(rows),
        "condition": ["clean"] * len(rows),
        "error": [answers.left_out[row] for row in rows],
        **({} if answers.weight is None else {WEIGHT: empty}),
    }
    logits = {} if answers.logits is None else {f"{LOGIT}{k}": empty for k in range(len(answers.classes))}
    signals = {f"{SIGNAL}{name}": empty for name in answers.signals}
    return frame(
        columns,
        pl.DataFrame(logits, pl.Schema(dict.fromkeys(logits, pl.Float32()))),
        pl.DataFrame(signals, pl.Schema(dict.fromkeys(signals, pl.Float64()))),
    )


def content_sha256(answers: Answers) -> str:
    """The hash of what a certificate follows from: labels, answers, scores, units and weights."""
    digest = hashlib.sha256("\x1f".join(answers.classes).encode())
    arrays = [answers.label, answers.predicted, answers.logits, *answers.own_scores.values(), answers.weight]
    for array in arrays:
        digest.update(b"\x1e" if array is None else np.ascontiguousarray(array).tobytes())
    for names in (answers.group, answers.sample_id):
        digest.update("\x1f".join(() if names is None else names).encode())
    return digest.hexdigest()


def _facts(answers: Answers, splits: np.ndarray[Any, Any], plan: Plan) -> dict[str, Any]:
    sha256 = content_sha256(answers)
    counts = {split: int((splits == split).sum()) for split in ("fit", "tune", "certify", "test")}
    counts["certify"] += len(answers.left_out)
    return {
        "schema_version": SCHEMA_VERSION,
        "sealed": True,
        "plan_sha256": plan.sha256,
        "gates_sha256": plan.gates_sha256,
        "seed": plan.seed,
        "model": plan.model.address,
        "model_sha256": sha256,
        "parameters": 0,
        "input_shape": [0, 0, 0],
        "classes": list(answers.classes),
        "data": plan.data.address,
        "data_sha256": sha256,
        "rows_sha256": {},
        "splits": counts,
        "duplicates": 0,
        "excluded": int((splits == "").sum()),
        "groups": None if answers.group is None else len(np.unique(answers.group)),
        "attacked": 0,
        "conditions": [{**_CLEAN, "rows": sum(counts.values())}],
        "flags": [],
        "signals": [_signal(name) for name in answers.signals],
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("demur", "numpy", "polars")},
        },
    }


_CLEAN: Mapping[str, Any] = {
    "name": "clean",
    "family": "clean",
    "kind": "clean",
    "severity": 0.0,
    "keep": "first",
    "target": None,
    "norm": None,
    "unlimited": False,
    "sentence": "The rows of the table: accuracy on all, answers on the test split",
    "attack": None,
}


def _signal(name: str) -> dict[str, Any]:
    known = LOGIT_SCORES.get(name)
    sentence = (known.__doc__ or "").partition("\n")[0] if known else "A score of the table: high when it is unsure."
    return {"name": name, "unit": _UNITS.get(name, "score"), "sentence": sentence, "passes": 0.0}
