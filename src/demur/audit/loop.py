"""An audit from plan to records: the loop over conditions and shards."""

import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from demur.adapters import load_model
from demur.attacks.ray import Ray
from demur.audit.attacked import try_attacks
from demur.audit.conditions import CLEAN, conditions, default_conditions
from demur.audit.described import describe_run
from demur.audit.device import placed
from demur.audit.direction import directed
from demur.audit.doors import knock
from demur.audit.engine import Bench
from demur.audit.fitting import fit_policies
from demur.audit.folder import Folder, open_folder
from demur.audit.gates import canonical_gates
from demur.audit.looking import measured
from demur.audit.map_doors import has_maps, try_maps
from demur.audit.near import near_facts
from demur.audit.plan import Plan
from demur.audit.section_facts import curve_facts, norm_facts, overlay_facts, sanity_facts
from demur.audit.sections import completed, sections
from demur.audit.signals import fit_facts, fitted, prices, seconds_per_image, signals_of, try_signals
from demur.audit.tasks import Task, attacked_rows, tasks
from demur.audit.thumbs import save_corruption_thumbs, save_thumbs
from demur.audit.trials import sample_size, surrogate_of, trials
from demur.classifier import Classifier
from demur.data import Source, build_index, open_data
from demur.openings import note
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
    plan = completed(directed(plan, source.classes), source, spatial=spatial)
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


def audit(
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
        classifier = placed(classifier, device)
    progress.say("reading the images")
    index = build_index(source, limit=plan.data.limit, exclude=classifier.learned_from, held_out=True)
    bench = Bench(plan, classifier, source, index, signals_of(plan.signals.use))
    progress.say("checking the model at the door")
    checks, surrogate = _at_the_door(bench)
    with open_folder(out or default_folder(plan), plan) as folder:
        describe_run(bench, folder)
        write_json(folder.path / "facts" / "door.json", checks)
        near = partial(near_facts, source, index)
        _note(folder, "near_duplicates", progress, "looking for near-duplicates", near)
        folder.log("started")
        _measure_all(bench, folder, progress)
        tried = partial(_trials, bench, surrogate)
        _note(folder, "trials", progress, "trying the measurement itself", tried)
        _note_sections(bench, folder, progress)
        folder.log("finished", seconds=round(time.monotonic() - began, 1))
        folder.time("audit", time.monotonic() - began)
    return folder.path


def _at_the_door(bench: Bench) -> tuple[list[dict[str, Any]], Classifier | None]:
    """Refuse what cannot be measured before anything is; what was found of the model, and the one to borrow from."""
    checks, plan = knock(bench), bench.plan
    try_signals(bench)
    found, extra = conditions(plan.conditions.use, bench.source.input_shape), sections(plan, bench.source.input_shape)
    try_attacks((*found, *extra), bench.classifier)
    try_maps(bench, extra)
    return checks, surrogate_of(plan.conditions.surrogate, bench.classifier, found)


def _note(folder: Folder, name: str, progress: Progress, what: str, facts: Callable[[], object]) -> None:
    """Write `facts/<name>.json`, once."""
    path = folder.path / "facts" / f"{name}.json"
    if not path.exists():
        progress.say(what)
        begun = time.monotonic()
        write_json(path, facts())
        folder.time(name, time.monotonic() - begun)


def _note_sections(bench: Bench, folder: Folder, progress: Progress) -> None:
    """What searches, maps and norms leave that is no row."""
    plan, shape = bench.plan, bench.source.input_shape
    found = sections(plan, shape)
    if plan.epsilon.curves and any(isinstance(condition.attack, Ray) for condition in found):
        _note(folder, "curves", progress, "following confidence along rays", lambda: curve_facts(bench, found))
    if any(condition.map for condition in found):
        _note(
            folder,
            "sanity",
            progress,
            "comparing maps with those of random weights",
            lambda: sanity_facts(bench, found),
        )
        _note(folder, "overlays", progress, "drawing maps", lambda: overlay_facts(bench, folder, found))
    if plan.lipschitz.images:
        _note(folder, "lipschitz", progress, "measuring norms", lambda: norm_facts(bench))


def _trials(bench: Bench, surrogate: Classifier | None) -> dict[str, Any]:
    plan = bench.plan.conditions
    found = conditions(plan.use, bench.source.input_shape)
    rows = attacked_rows(bench.index, min(plan.attacked, sample_size(plan.attacked)))
    return trials(bench, found, rows, surrogate)


def _measure_all(bench: Bench, folder: Folder, progress: Progress) -> None:
    done = folder.shards()
    work = list(tasks(bench))
    if any(task.name not in done for task in work):
        bench = _fit(bench, folder, work, progress)
    progress.start(sum(task.cost for task in work))
    frozen = False
    for task in work:
        if task.condition != CLEAN and not frozen:
            _freeze(bench, folder)
            frozen = True
        if task.name not in done:
            begun = time.monotonic()
            folder.add(done, task.name, task.condition.name, measured(bench, task.condition, task.rows))
            folder.time(task.name, time.monotonic() - begun)
        progress.advance(task.cost, task.condition.sentence)
    if not frozen:
        _freeze(bench, folder)


def _fit(bench: Bench, folder: Folder, work: Sequence[Task], progress: Progress) -> Bench:
    """Say what signals will cost, and fit those that must be fitted."""
    scored = sum(len(task.rows) for task in work if task.condition.scored)
    for sentence in prices(bench.signals, scored, len(bench.index.rows_of("fit"))):
        progress.say(sentence)
    bench = fitted(bench)
    if bench.fitted:
        write_json(folder.path / "facts" / "signals.json", fit_facts(bench))
    write_json(folder.path / "timings" / "signals.json", seconds_per_image(bench))
    return bench


def _freeze(bench: Bench, folder: Folder) -> None:
    """Fit the policies once the clean rows are in, before any other condition is measured."""
    clean = read(folder.path, CLEAN.name)
    note(folder.path, "certify", "audit")
    policies = fit_policies(bench.plan.policies.use, clean, list(bench.signals))
    write_json(folder.path / "facts" / "policies.json", policies)
    folder.log("certify and test labels opened")
    save_thumbs(bench, folder, clean)
    found = conditions(bench.plan.conditions.use, bench.source.input_shape)
    for row in attacked_rows(bench.index, 1):
        save_corruption_thumbs(bench, folder, int(row), found)
