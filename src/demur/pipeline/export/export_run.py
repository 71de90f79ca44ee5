"""From models, data and attacks to a folder of adversarial images."""

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from demur.adapters import load_model
from demur.classifier import BoundClassifier
from demur.classifier.devices import on_device
from demur.data import Index, Source, build_index
from demur.data.relabelled import under_classes
from demur.errors import InputError, ModelError
from demur.pipeline.export.export_figures import matrix
from demur.pipeline.export.export_folder import ExportFolder, file_slug, open_export, unique
from demur.pipeline.export.export_job import ExportJob, export_attack
from demur.pipeline.export.point_files import Rows, check_suffix
from demur.pipeline.job import Job
from demur.pipeline.pairing import open_data_for_each
from demur.pipeline.plan.conditions import CLEAN, Condition, Shape, conditions
from demur.pipeline.plan.plan_file import Plan, read_plan
from demur.pipeline.preflight import preflight_checks, try_attacks
from demur.pipeline.run.effort import Progress
from demur.pipeline.run.run_writer import try_folder
from demur.records import SCHEMA_VERSION
from demur.registry import Name, kind_of, lookup


def attacks_of(texts: Sequence[str], shape: Shape) -> tuple[Condition, ...]:
    """The attacks the texts name, lists expanded to one each.

    Raises:
        UnknownNameError: a name or field nobody knows.
        InputError: no attack at all, or a field's value breaks its rule.
    """
    names = [Name(text) for text in texts]
    for name in (text.call.name for text in names):
        if name == CLEAN.name or kind_of(name, "attack", "corruption") == "corruption":
            raise InputError(
                f"{name!r} is a condition of an audit and no attack. Name an attack, such as pgd(eps=8/255)."
            )
        lookup("attack", name)
    if not texts:
        raise InputError("no attack was named. Give at least one, such as --attack 'pgd(eps=8/255)'.")
    return tuple(found for found in conditions(names, shape) if found.attack is not None)


def export(
    models: Sequence[BoundClassifier | str],
    data: Source | str,
    attacks: Sequence[str],
    out: Path | str,
    *,
    limit: int | None = None,
    seed: int = 0,
    batch: int = 128,
    device: str | None = None,
    suffix: str = "safetensors",
    quantised: bool = True,
    trust_labels: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Attack models, write what was found, read it back and check its answers; return the path of `attack.json`.

    The same call again continues what was interrupted and measures nothing twice.

    Args:
        models: classifiers or their addresses. With more than one, each is attacked, and run on the points of the
            others.
        data: a source or its address; held-out rows are attacked, of which images the models learned from are none.
        attacks: such as `"pgd(eps=[2/255, 8/255])"`; a list is one attack for each value.
        out: the folder, made if it is not there.
        limit: attack only so many readable images, those with the smallest content hashes.
        seed: of everything random; with the seed of an audit the points are the audit's.
        batch: images per pass.
        device: where the models run, by default where they are.
        suffix: `"safetensors"` or `"npz"`.
        quantised: also write the images in 8 bits, and count the successes that this loses.
        trust_labels: go on with a model that is no better than guessing.
        progress: called as the work proceeds.

    Raises:
        InputError: something given cannot be used; nothing was measured.
        RunError: the folder belongs to other work.
    """
    progress = progress or _Quiet()
    check_suffix(suffix)
    try_folder(Path(out))
    named = [model for model in models if isinstance(model, str)]
    source = open_data_for_each(named, data) if isinstance(data, str) else data
    found = attacks_of(attacks, source.input_shape)
    classifiers = _open_models(models, source, device)
    source = under_classes(source, classifiers[0].classes, classifiers[0].name)
    for classifier in classifiers:
        try_attacks(found, classifier)
    progress.say("reading the images")
    index = build_index(source, exclude=frozenset[str]().union(*(c.learned_from for c in classifiers)), held_out=True)
    given = {"data.address": source.address, "seed": seed, "batch": batch, "model.trust_labels": trust_labels}
    plan = read_plan(None, (), given, shipped=False)
    task = _Task(plan, source, index, classifiers, found, select_rows(index, limit), suffix, quantised)
    progress.say("checking the model and the data")
    facts = task.facts([preflight_checks(job) for job in task.model_jobs])
    with open_export(Path(out), task.request(limit), facts) as folder:
        task.run(folder, progress)
        return folder.path / "attack.json"


@dataclass(frozen=True, eq=False)
class _Task:
    """Everything that is to be done."""

    plan: Plan
    source: Source
    index: Index
    classifiers: Sequence[BoundClassifier]
    conditions: Sequence[Condition]
    rows: Rows
    suffix: str
    quantised: bool

    @property
    def model_jobs(self) -> tuple[Job, ...]:
        return tuple(
            Job(self.plan, classifier, self.source, self.index, tuple(self.conditions))
            for classifier in self.classifiers
        )

    @property
    def names(self) -> tuple[str, ...]:
        return unique([file_slug(classifier.name) for classifier in self.classifiers])

    @property
    def jobs(self) -> list[ExportJob]:
        places = unique([file_slug(condition.name) for condition in self.conditions])
        return [
            ExportJob(number, job, condition, self.rows, f"{name}/{place}", self.suffix, self.quantised)
            for number, (job, name) in enumerate(zip(self.model_jobs, self.names, strict=True))
            for condition, place in zip(self.conditions, places, strict=True)
        ]

    def request(self, limit: int | None) -> dict[str, Any]:
        """What makes it another run: everything that the files depend on."""
        ids, contents = ([each[row] for row in self.rows] for each in (self.index.sample_ids, self.index.contents))
        rows = json.dumps([ids, contents, self.index.labels[self.rows].tolist()]).encode()
        return {
            "models": [classifier.sha256 for classifier in self.classifiers],
            "data": self.index.sha256,
            "rows": hashlib.sha256(rows).hexdigest(),
            "attacks": [condition.name for condition in self.conditions],
            "limit": limit,
            "seed": self.plan.seed,
            "batch": self.plan.batch,
            "format": self.suffix,
            "quantised": self.quantised,
        }

    def facts(self, checks: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
        """What an export says of itself: names, addresses, versions, what preflight found."""
        return {
            "schema_version": SCHEMA_VERSION,
            "data": self.source.address,
            "images": len(self.rows),
            "unreadable": sum(error is not None for error in self.index.errors),
            "classes": list(self.source.classes),
            "models": [
                {"name": name, "parameters": classifier.parameters, "sha256": classifier.sha256, "checks": list(found)}
                for name, classifier, found in zip(self.names, self.classifiers, checks, strict=True)
            ],
            "versions": {
                "python": platform.python_version(),
                **{name: version(name) for name in ("demur", "torch", "numpy", "polars")},
            },
        }

    def run(self, folder: ExportFolder, progress: Progress) -> None:
        """Whatever is not finished yet."""
        jobs, carried = self.jobs, len(self.classifiers) > 1
        answers = len(self.classifiers) * len(self.rows)
        prices = {c.name: c.attack.passes for c in self.conditions if c.attack is not None}
        progress.say(self.cost(prices))
        progress.start(len(self.rows) * sum(prices[job.condition.name] for job in jobs) + carried * answers * len(jobs))
        for job in jobs:
            tell = partial(_tell, progress, prices[job.condition.name], f"{job.model_name}: {job.condition.sentence}")
            if folder.finished(job.model, job.condition.name):
                tell(len(self.rows))
            else:
                export_attack(job, folder, tell)
        if not folder.note()["finished"]:
            folder.close(
                [self._carried(condition, folder, progress) for condition in self.conditions] if carried else []
            )

    def _carried(self, condition: Condition, folder: ExportFolder, progress: Progress) -> Mapping[str, Any]:
        own = [job for job in self.jobs if job.condition == condition]
        files = [(folder.path / job.arrays, folder.path / job.table) for job in own]
        tell = partial(_tell, progress, 1, "running every model on all points", len(self.rows))
        return matrix(condition, self.model_jobs, files, tell)

    def cost(self, prices: Mapping[str, int]) -> str:
        """What this may cost, in words."""
        models, attacks, images = len(self.classifiers), len(self.conditions), len(self.rows)
        passes = models * images * sum(prices.values())
        size = models * attacks * images * int(np.prod(self.source.input_shape)) * (4 + self.quantised)
        return (
            f"{models} model{'s' * (models > 1)} × {attacks} attack{'s' * (attacks > 1)} × {images:,} images: at most "
            f"about {passes:,} passes, and {size / 1e6:,.0f} MB of files"
        )


def _tell(progress: Progress, each: int, what: str, rows: int) -> None:
    progress.advance(each * rows, what)


def select_rows(index: Index, limit: int | None) -> Rows:
    """The readable rows with the smallest content hashes, in the order of the source."""
    if limit is not None and limit < 1:
        raise InputError(f"`limit` must be at least 1; got {limit}.")
    ranked = sorted(index.readable.tolist(), key=lambda row: (index.contents[row], index.sample_ids[row]))
    return np.array(sorted(ranked[:limit]), dtype=np.int64)


def _open_models(
    models: Sequence[BoundClassifier | str], source: Source, device: str | None
) -> tuple[BoundClassifier, ...]:
    found = [
        load_model(model, classes=source.classes, input_shape=source.input_shape) if isinstance(model, str) else model
        for model in models
    ]
    first, *others = found
    for other in others:
        if (other.input_shape, len(other.classes)) != (first.input_shape, len(first.classes)):
            raise ModelError(
                f"models can be run on each other's images only if they read the same shape and know as many "
                f"classes; {first.name} has {first.input_shape} and {len(first.classes)}, {other.name} has "
                f"{other.input_shape} and {len(other.classes)}. Leave {other.name} out."
            )
    return tuple(found if device is None else (on_device(classifier, device) for classifier in found))


class _Quiet:
    """Progress that nobody watches."""

    def start(self, rows: int) -> None:
        """Nobody counts."""

    def advance(self, rows: int, what: str, left: float | None = None) -> None:
        """Nobody counts."""

    def say(self, what: str) -> None:
        """Nobody listens."""
