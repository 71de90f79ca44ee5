"""An audit from plan to records: the loop over conditions and shards."""

import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from demur.adapters import load_model
from demur.attacks.ray import Ray
from demur.classifier import Classifier
from demur.data import Source, build_index, open_data
from demur.openings import note
from demur.pipeline.plan.conditions import CLEAN, conditions, default_conditions
from demur.pipeline.plan.plan_file import Plan
from demur.pipeline.plan.resolve import canonical_gates, with_error_direction
from demur.pipeline.plan.sections import sections, with_default_sections
from demur.pipeline.preflight import has_maps, near_duplicate_facts, preflight_checks, try_maps
from demur.pipeline.run.attack_rows import try_attacks
from demur.pipeline.run.attribution_rows import measure_shard
from demur.pipeline.run.extra_facts import (
    curve_facts,
    norm_facts,
    overlay_facts,
    sanity_facts,
    save_corruption_thumbs,
    save_thumbs,
)
from demur.pipeline.run.fitting import (
    fit_facts,
    fit_policies,
    fitted_signals,
    prices,
    seconds_per_image,
    signals_of,
    try_signals,
)
from demur.pipeline.run.job import Job, on_device
from demur.pipeline.run.run_metadata import write_metadata
from demur.pipeline.run.run_writer import RunWriter, open_run
from demur.pipeline.run.shards import Shard, attacked_rows, shards
from demur.pipeline.sanity import sample_size, trials
from demur.pipeline.sanity.attack_trials import surrogate_of
from demur.policies import Certified
from demur.records import read, write_json
from demur.registry import build


class Progress(Protocol):
    """What an audit tells whoever waits for it; rows of work done of all there are."""

    def start(self, rows: int) -> None:
        """The whole work, in rows times passes."""

    def advance(self, rows: int, what: str) -> None:
        """Some of it is done."""

    def say(self, what: str) -> None:
        """Something else is being done."""


def resolve(plan: Plan, source: Source, *, spatial: bool = True) -> Plan:
    """The plan with every default written out for the shape of its images, with `msp` and the signals policies read.

    Raises:
        InputError: a condition, signal, policy, gate, cost or positive class that cannot be; better now than after an
            hour.
    """
    plan = with_default_sections(with_error_direction(plan, source.classes), source, spatial=spatial)
    policies = [build("policy", text) for text in plan.policies.use]
    read_by_policies = [name for policy in policies if not isinstance(policy, Certified) for name in policy.signals]
    use = plan.conditions.use or default_conditions(source.input_shape)
    found = conditions(use, source.input_shape)
    names = tuple(condition.name for condition in found)
    signals = tuple(signals_of(["msp", *plan.signals.use, *read_by_policies]))
    return plan.model_copy(
        update={
            "conditions": plan.conditions.model_copy(update={"use": names}),
            "signals": plan.signals.model_copy(update={"use": signals}),
            "gates": canonical_gates(plan.gates, source.input_shape, names, signals),
        }
    )


def default_folder(plan: Plan) -> Path:
    """`runs/<model>-<data>-<plan8>`: the same plan finds its folder again."""
    parts = [
        re.sub(r"[^a-z0-9]+", "_", _stem(text).lower()).strip("_") for text in (plan.model.address, plan.data.address)
    ]
    return Path("runs") / f"{parts[0]}-{parts[1]}-{plan.sha256[:8]}"


def _stem(address: str) -> str:
    """The telling part of an address: an architecture's or a file's name."""
    scheme, _, rest = address.partition("?")[0].partition(":")
    place = rest.partition("@")[0]
    return (Path(place).stem if "/" in place or "." in place else place) or scheme


def run_plan(
    plan: Plan,
    out: Path | None,
    progress: Progress,
    source: Source | None = None,
    classifier: Classifier | None = None,
    device: str | None = None,
) -> Path:
    """Run a plan and return its run folder; what an earlier, interrupted run measured is kept.

    A source or classifier that is given stands in for the one at the plan's address. `device` is where the model runs;
    it is no part of the plan, for another device gives the same decisions and scores to 1e-4.

    Raises:
        InputError: something given cannot be used; nothing was measured.
        RunError: the folder belongs to another run.
    """
    began = time.monotonic()
    source = source or open_data(plan.data.address)
    if classifier is None:
        classifier = load_model(plan.model.address, classes=source.classes, input_shape=source.input_shape)
    plan = resolve(plan, source, spatial=has_maps(classifier))
    if device is not None:
        classifier = on_device(classifier, device)
    progress.say("reading the images")
    index = build_index(source, limit=plan.data.limit, exclude=classifier.learned_from, held_out=True)
    job = Job(plan, classifier, source, index, signals_of(plan.signals.use))
    progress.say("checking the model at the door")
    checks, surrogate = _at_the_door(job)
    with open_run(out or default_folder(plan), plan) as folder:
        write_metadata(job, folder)
        write_json(folder.path / "facts" / "preflight.json", checks)
        near = partial(near_duplicate_facts, source, index)
        _note(folder, "near_duplicates", progress, "looking for near-duplicates", near)
        folder.log("started")
        _measure_all(job, folder, progress)
        tried = partial(_trials, job, surrogate)
        _note(folder, "trials", progress, "trying the measurement itself", tried)
        _note_sections(job, folder, progress)
        folder.log("finished", seconds=round(time.monotonic() - began, 1))
        folder.time("audit", time.monotonic() - began)
    return folder.path


def _at_the_door(job: Job) -> tuple[list[dict[str, Any]], Classifier | None]:
    """Refuse what cannot be measured before anything is; what was found of the model, and the one to borrow from."""
    checks, plan = preflight_checks(job), job.plan
    try_signals(job)
    found, extra = conditions(plan.conditions.use, job.source.input_shape), sections(plan, job.source.input_shape)
    try_attacks((*found, *extra), job.classifier)
    try_maps(job, extra)
    return checks, surrogate_of(plan.conditions.surrogate, job.classifier, found)


def _note(folder: RunWriter, name: str, progress: Progress, what: str, facts: Callable[[], object]) -> None:
    """Write `facts/<name>.json`, once."""
    path = folder.path / "facts" / f"{name}.json"
    if not path.exists():
        progress.say(what)
        begun = time.monotonic()
        write_json(path, facts())
        folder.time(name, time.monotonic() - begun)


def _note_sections(job: Job, folder: RunWriter, progress: Progress) -> None:
    """What searches, maps and norms leave that is no row."""
    plan, shape = job.plan, job.source.input_shape
    found = sections(plan, shape)
    if plan.epsilon.curves and any(isinstance(condition.attack, Ray) for condition in found):
        _note(folder, "curves", progress, "following confidence along rays", lambda: curve_facts(job, found))
    if any(condition.map for condition in found):
        _note(
            folder,
            "sanity",
            progress,
            "comparing maps with those of random weights",
            lambda: sanity_facts(job, found),
        )
        _note(folder, "overlays", progress, "drawing maps", lambda: overlay_facts(job, folder, found))
    if plan.lipschitz.images:
        _note(folder, "lipschitz", progress, "measuring norms", lambda: norm_facts(job))


def _trials(job: Job, surrogate: Classifier | None) -> dict[str, Any]:
    plan = job.plan.conditions
    found = conditions(plan.use, job.source.input_shape)
    rows = attacked_rows(job.index, min(plan.attacked, sample_size(plan.attacked)))
    return trials(job, found, rows, surrogate)


def _measure_all(job: Job, folder: RunWriter, progress: Progress) -> None:
    done = folder.shards()
    work = list(shards(job))
    if any(task.name not in done for task in work):
        job = _fit(job, folder, work, progress)
    progress.start(sum(task.cost for task in work))
    frozen = False
    for task in work:
        if task.condition != CLEAN and not frozen:
            _freeze(job, folder)
            frozen = True
        if task.name not in done:
            begun = time.monotonic()
            folder.add(done, task.name, task.condition.name, measure_shard(job, task.condition, task.rows))
            folder.time(task.name, time.monotonic() - begun)
        progress.advance(task.cost, task.condition.sentence)
    if not frozen:
        _freeze(job, folder)


def _fit(job: Job, folder: RunWriter, work: Sequence[Shard], progress: Progress) -> Job:
    """Say what signals will cost, and fit those that must be fitted."""
    scored = sum(len(task.rows) for task in work if task.condition.scored)
    for sentence in prices(job.signals, scored, len(job.index.rows_of("fit"))):
        progress.say(sentence)
    job = fitted_signals(job, folder)
    if job.fitted:
        write_json(folder.path / "facts" / "signals.json", fit_facts(job))
    write_json(folder.path / "timings" / "signals.json", seconds_per_image(job))
    return job


def _freeze(job: Job, folder: RunWriter) -> None:
    """Fit the policies once the clean rows are in, before any other condition is measured."""
    clean = read(folder.path, CLEAN.name)
    note(folder.path, "certify", "audit")
    policies = fit_policies(job.plan.policies.use, clean, list(job.signals))
    write_json(folder.path / "facts" / "policies.json", policies)
    folder.log("certify and test labels opened")
    save_thumbs(job, folder, clean)
    found = conditions(job.plan.conditions.use, job.source.input_shape)
    for row in attacked_rows(job.index, 1):
        save_corruption_thumbs(job, folder, int(row), found)
