"""What `run.json` says of a run, and whether a folder was begun with the same model, images and rows."""

import math
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from demur import seal
from demur.attacks.core.attack_state import FLAGS
from demur.attribution.compactness import MEASURES
from demur.attribution.grad_cam import GradCAM
from demur.attribution.localisation import LOCALISATIONS
from demur.data import UnknownImages
from demur.errors import RunError
from demur.files import json_bytes, read_json
from demur.pipeline.job import Job
from demur.pipeline.plan.condition_titles import title_facts
from demur.pipeline.plan.conditions import Condition
from demur.pipeline.run.fitting import signal_facts
from demur.pipeline.run.run_writer import RunWriter
from demur.records import SCHEMA_VERSION
from demur.registry import Call, packages

NAME = "run.json"


def write_metadata(job: Job, folder: RunWriter) -> list[str]:
    """Write `run.json`, once; an interrupted run goes on only with what it was begun with.

    Returns what differs and forbids nothing, a sentence each.

    Raises:
        RunError: the model, the images or what is known of them changed, or `run.json` was and cannot be restored.
    """
    facts, path = _facts(job), folder.path / NAME
    content, sealed = json_bytes(facts), (seal.read_seal(folder.path) or {}).get(NAME)
    intact = folder.has(NAME)
    if sealed and not intact and seal.sha256_of(content) not in sealed:
        raise RunError(
            f"{path} was changed since it was written, and what it said of the model and the images cannot be told any "
            "more: this audit would write something else. Bring the file back, or choose another folder with --out."
        )
    if not sealed and not path.exists() and folder.shards():
        raise RunError(
            f"{path} is gone, so nobody can tell which model the records in {folder.path} are of. Bring the file back, "
            "or choose another folder with --out."
        )
    before = read_json(path) if path.exists() and (intact or not sealed) else facts
    check_same_run(folder, before, facts)
    if not intact:
        folder.write({NAME: content})
    return list(other_versions(before, facts))


def other_versions(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What a run was begun with in other versions than it would go on with, a sentence."""
    known = before.get("versions", {})
    found = [
        f"{name} {known[name]} then, {version} now"
        for name, version in now["versions"].items()
        if known.get(name, version) != version
    ]
    if found:
        yield f"the run was begun under other versions: {', '.join(found)}; its answers are compared"


def check_same_run(folder: RunWriter, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse other rows: shards are by position and keep what was known of their rows.

    Raises:
        RunError: `now` is of another model, other data or another plan than `before`, what the folder was begun with.
    """
    keys = ("model_sha256", "data_sha256", "plan_sha256")
    if not isinstance(before, dict) or not set(keys) <= set(before):
        raise RunError(
            f"{folder.path / NAME} must say of which model, data and plan the run is; it does not, so it is another "
            "file. Bring the right one back, or choose another folder with --out."
        )
    changed = [key.partition("_")[0] for key in keys if before.get(key) != now[key]]
    rows = before.get("rows_sha256", {})
    moved = [name for name, sha256 in now["rows_sha256"].items() if rows.get(name) != sha256]
    if changed:
        raise RunError(
            f"{folder.path} was begun with another {' and '.join(changed)} (its hash changed). Choose another folder "
            "with --out."
        )
    _check_layers(folder, _layers(before), _layers(now))
    if moved:
        raise RunError(
            f"{folder.path} was begun with the same images and labels, and with other {', '.join(moved)} or in another "
            "order. Its records and these rows must not be mixed: choose another folder with --out."
        )


def _check_layers(folder: RunWriter, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Which layer's maps are empty may turn on rounding, which is another elsewhere; its maps must not be mixed."""
    for name, layer in before.items():
        if now.get(name, layer) != layer:
            raise RunError(
                f"{folder.path} was begun with {name} by the maps of the layer {layer!r}, and here those of "
                f"{now[name]!r} would be taken. Go on with it on the machine where it was begun, or choose another "
                "folder with --out."
            )


def _facts(job: Job) -> dict[str, Any]:
    plan, model, index = job.plan, job.classifier, job.index
    attacked = next((len(job.rows(each)) for each in job.conditions if each.kind == "attack"), 0)
    values = math.prod(model.input_shape)
    return {
        "schema_version": SCHEMA_VERSION,
        "sealed": True,
        "plan_sha256": plan.sha256,
        "gates_sha256": plan.gates_sha256,
        "seed": plan.seed,
        "model": plan.model.address,
        "model_sha256": model.sha256,
        "parameters": model.parameters,
        **_if_any("gradient_fault", model.gradient_fault),
        "input_shape": list(model.input_shape),
        "classes": list(model.classes),
        "data": plan.data.address,
        "preprocessing": list(job.preprocessing),
        **_if_any("sizing", None if job.sizing is None else asdict(job.sizing)),
        "data_sha256": index.sha256,
        "rows_sha256": {**index.rows_sha256, **_unknown_rows(job)},
        **_if_any("unknown", None if job.unknown is None else _unknown_facts(job.unknown, str(plan.data.unknown))),
        "splits": {split: len(index.rows_of(split)) for split in ("fit", "tune", "certify", "test")},
        "duplicates": index.duplicates,
        "excluded": index.excluded,
        "groups": index.group_count,
        "attacked": attacked,
        "conditions": [_condition_facts(each, job, values) for each in job.conditions],
        "flags": [asdict(flag) for flag in FLAGS],
        "signals": [signal_facts(name, signal, index) for name, signal in job.signals.items()],
        "versions": _versions(job),
    }


def _versions(job: Job) -> dict[str, str]:
    own = {name: version(name) for name in ("demur", "torch", "numpy", "polars")}
    return {"python": platform.python_version(), **own, **packages(_calls(job))}


def _if_any(name: str, value: Any) -> dict[str, Any]:
    """The fact under its name; nothing where it is empty."""
    return {name: value} if value else {}


def _unknown_rows(job: Job) -> dict[str, str]:
    """The hash of what is known of the images of none of the classes."""
    if job.unknown is None:
        return {}
    return {"unknown images": seal.sha256_of(json_bytes(job.unknown.index.rows_sha256))}


def _unknown_facts(unknown: UnknownImages, address: str) -> dict[str, Any]:
    """What is said of the set of images of none of the classes."""
    return {
        "address": address,
        "images": len(unknown.index),
        "sha256": unknown.index.sha256,
        "groups": unknown.index.group_count,
        "shared_classes": list(unknown.shared_classes),
        "shared_images": unknown.shared_images,
    }


def _calls(job: Job) -> Iterator[Call]:
    """Every name of a plan, the schemes of its addresses among them, so that packages that add one can be told."""
    yield from job.calls
    for address in filter(None, (job.plan.model.address, job.plan.data.address, job.plan.data.unknown)):
        yield Call(address.partition("?")[0].partition(":")[0], {})


def _condition_facts(condition: Condition, job: Job, values: int) -> Mapping[str, Any]:
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
        **title_facts(condition),
        "attack": None if condition.attack is None else {**asdict(condition.attack.facts), "series": condition.series},
        "rows": len(job.rows(condition)),
        **_if_any("design", _design(condition, job)),
        **_layer_facts(job, condition),
        **_section_facts(condition, values),
    }


def _design(condition: Condition, job: Job) -> Mapping[str, Any] | None:
    """How the rows of a condition were drawn, where that was not alike."""
    drawn = job.drawn(condition)
    if drawn is None or not drawn.columns:
        return None
    return {"strata": job.plan.conditions.strata, "alike": drawn.alike, "of": drawn.population}


def _layer_facts(job: Job, condition: Condition) -> Mapping[str, str]:
    """The layer whose maps a condition is about, itself or by its region."""
    found = condition.map or job.maps.get(condition.region or "")
    return {"layer": found.layer} if isinstance(found, GradCAM) and found.layer else {}


def _layers(facts: Mapping[str, Any]) -> dict[str, str]:
    return {each["name"]: each["layer"] for each in facts.get("conditions", ()) if "layer" in each}


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
