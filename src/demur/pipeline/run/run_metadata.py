"""What `run.json` says of a run, and whether a folder was begun with the same model, images and rows."""

import math
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from demur.attacks.core.attack_state import FLAGS
from demur.attribution.compactness import MEASURES
from demur.attribution.localisation import LOCALISATIONS
from demur.errors import RunError
from demur.pipeline.job import Job, attacked_rows
from demur.pipeline.plan.conditions import Condition
from demur.pipeline.run.fitting import signal_facts
from demur.pipeline.run.run_writer import RunWriter
from demur.records import SCHEMA_VERSION, read_json, write_json
from demur.registry import Call, packages


def write_metadata(job: Job, folder: RunWriter) -> None:
    """Write `run.json`; an interrupted run goes on only with what it was begun with.

    Raises:
        RunError: the model, the images or what is known of them changed.
    """
    facts = _facts(job)
    path = folder.path / "run.json"
    if path.exists():
        _check_same(folder, read_json(path), facts)
    write_json(path, facts)


def _check_same(folder: RunWriter, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Shards are by position and keep what was known of their rows, so a run goes on with the same rows only."""
    changed = [key.partition("_")[0] for key in ("model_sha256", "data_sha256") if before.get(key) != now[key]]
    rows = before.get("rows_sha256", {})
    moved = [name for name, sha256 in now["rows_sha256"].items() if rows.get(name) != sha256]
    if changed:
        raise RunError(
            f"{folder.path} was begun with another {' and '.join(changed)} (its hash changed). Choose another folder "
            "with --out."
        )
    if moved:
        raise RunError(
            f"{folder.path} was begun with the same images and labels, and with other {', '.join(moved)} or in another "
            "order. Its records and these rows must not be mixed: choose another folder with --out."
        )


def _facts(job: Job) -> dict[str, Any]:
    plan, model, index = job.plan, job.classifier, job.index
    attacked = any(condition.kind == "attack" for condition in job.conditions)
    values = math.prod(model.input_shape)
    return {
        "schema_version": SCHEMA_VERSION,
        "plan_sha256": plan.sha256,
        "gates_sha256": plan.gates_sha256,
        "seed": plan.seed,
        "model": plan.model.address,
        "model_sha256": model.sha256,
        "parameters": model.parameters,
        "input_shape": list(model.input_shape),
        "classes": list(model.classes),
        "data": plan.data.address,
        "data_sha256": index.sha256,
        "rows_sha256": index.rows_sha256,
        "splits": {split: len(index.rows_of(split)) for split in ("fit", "tune", "certify", "test")},
        "duplicates": index.duplicates,
        "excluded": index.excluded,
        "groups": index.group_count,
        "attacked": len(attacked_rows(index, plan.conditions.attacked)) if attacked else 0,
        "conditions": [_condition_facts(each, len(job.rows(each)), values) for each in job.conditions],
        "flags": [asdict(flag) for flag in FLAGS],
        "signals": [signal_facts(name, signal, index) for name, signal in job.signals.items()],
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("demur", "torch", "numpy", "polars")},
            **packages(_calls(job)),
        },
    }


def _calls(job: Job) -> Iterator[Call]:
    """Every name of a plan, the schemes of its addresses among them, so that packages that add one can be told."""
    yield from job.calls
    for address in (job.plan.model.address, job.plan.data.address):
        yield Call(address.partition("?")[0].partition(":")[0], {})


def _condition_facts(condition: Condition, rows: int, values: int) -> Mapping[str, Any]:
    return {
        "name": condition.name,
        "family": condition.family,
        "kind": condition.kind,
        "severity": condition.severity,
        "keep": condition.keep,
        "target": condition.target,
        "norm": condition.norm,
        "unlimited": condition.unlimited,
        "sentence": condition.sentence,
        "attack": None if condition.attack is None else {**asdict(condition.attack.facts), "series": condition.series},
        "rows": rows,
        **_section_facts(condition, values),
    }


def _section_facts(condition: Condition, values: int) -> Mapping[str, Any]:
    """What is said of searches, maps and hidden parts besides."""
    match condition.kind:
        case "epsilon":
            line = condition.line
            return {
                "cap": None if line is None else line.reach(values),
                "resolution": None if line is None else line.resolution,
                "part": condition.part,
                "region": condition.region,
            }
        case "map":
            return {
                "map": condition.name,
                "measures": [{"name": n, "sentence": s, "uncertainty": d} for n, (s, d) in MEASURES.items()],
                "localisations": [{"name": n, "sentence": s} for n, (s, _) in LOCALISATIONS.items()],
            }
        case "intervention":
            return {"part": condition.part, "by": condition.by, "region": condition.region}
        case _:
            return {}
