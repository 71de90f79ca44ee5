"""An audit from plan to records: the loop over conditions and shards."""

import platform
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from demur.adapters import load_model
from demur.audit.attacked import try_attacks
from demur.audit.conditions import CLEAN, Condition, conditions, default_conditions, steps_of
from demur.audit.device import placed
from demur.audit.direction import directed
from demur.audit.doors import knock
from demur.audit.engine import SHARD, Bench
from demur.audit.fitting import fit_policies
from demur.audit.folder import Folder, open_folder
from demur.audit.gates import canonical_gates
from demur.audit.near import near_facts
from demur.audit.plan import Plan
from demur.audit.signals import fit_facts, fitted, prices, seconds_per_image, signal_facts, signals_of, try_signals
from demur.audit.thumbs import save_corruption_thumbs, save_thumbs
from demur.audit.trials import sample_size, surrogate_of, trials
from demur.classifier import Classifier
from demur.data import Index, Source, build_index, open_data
from demur.errors import RunError
from demur.openings import note
from demur.policies import Certified
from demur.records import SCHEMA_VERSION, read, read_json, write_json
from demur.registry import build

Rows = NDArray[np.int64]


class Progress(Protocol):
    """What an audit tells whoever waits for it; rows of work done of all there are."""

    def start(self, rows: int) -> None:
        """The whole work, in rows times passes."""

    def advance(self, rows: int, what: str) -> None:
        """Some of it is done."""

    def say(self, what: str) -> None:
        """Something else is being done."""


@dataclass(frozen=True)
class Task:
    """One shard of one condition."""

    name: str
    condition: Condition
    rows: Rows
    passes: float = 0.0
    """Of signals, beyond the one that all share."""

    @property
    def cost(self) -> int:
        """Passes it may take at most; a backward costs about as much as a forward."""
        steps = 0 if self.condition.attack is None else steps_of(self.condition.attack)
        return round(len(self.rows) * (1 + 2 * steps + self.passes))


def resolve(plan: Plan, source: Source) -> Plan:
    """The plan with every default written out for the shape of its images, with `msp` and the signals policies read.

    Raises:
        InputError: a condition, signal, policy, gate, cost or positive class that cannot be; better now than after an
            hour.
    """
    plan = directed(plan, source.classes)
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
    plan = resolve(plan, source)
    if classifier is None:
        classifier = load_model(plan.model.address, classes=source.classes, input_shape=source.input_shape)
    if device is not None:
        classifier = placed(classifier, device)
    progress.say("reading the images")
    index = build_index(source, limit=plan.data.limit, exclude=classifier.learned_from, held_out=True)
    bench = Bench(plan, classifier, source, index, signals_of(plan.signals.use))
    progress.say("checking the model at the door")
    checks = knock(bench)
    try_signals(bench)
    found = conditions(plan.conditions.use, source.input_shape)
    try_attacks(found, classifier)
    surrogate = surrogate_of(plan.conditions.surrogate, classifier, found)
    with open_folder(out or default_folder(plan), plan) as folder:
        _describe_run(bench, folder)
        write_json(folder.path / "facts" / "door.json", checks)
        _note_near_duplicates(bench, folder, progress)
        folder.log("started")
        _measure_all(bench, folder, progress)
        _note_trials(bench, folder, surrogate, progress)
        folder.log("finished", seconds=round(time.monotonic() - began, 1))
        folder.time("audit", time.monotonic() - began)
    return folder.path


def _note_near_duplicates(bench: Bench, folder: Folder, progress: Progress) -> None:
    path = folder.path / "facts" / "near_duplicates.json"
    if not path.exists():
        progress.say("looking for near-duplicates")
        write_json(path, near_facts(bench.source, bench.index))


def _note_trials(bench: Bench, folder: Folder, surrogate: Classifier | None, progress: Progress) -> None:
    path = folder.path / "facts" / "trials.json"
    if not path.exists():
        progress.say("trying the measurement itself")
        begun = time.monotonic()
        plan = bench.plan.conditions
        found = conditions(plan.use, bench.source.input_shape)
        rows = attacked_rows(bench.index, min(plan.attacked, sample_size(plan.attacked)))
        write_json(path, trials(bench, found, rows, surrogate))
        folder.time("trials", time.monotonic() - begun)


def _measure_all(bench: Bench, folder: Folder, progress: Progress) -> None:
    done = folder.shards()
    tasks = list(_tasks(bench))
    if any(task.name not in done for task in tasks):
        bench = _fit(bench, folder, tasks, progress)
    progress.start(sum(task.cost for task in tasks))
    frozen = False
    for task in tasks:
        if task.condition != CLEAN and not frozen:
            _freeze(bench, folder)
            frozen = True
        if task.name not in done:
            begun = time.monotonic()
            folder.add(done, task.name, task.condition.name, bench.measure(task.condition, task.rows))
            folder.time(task.name, time.monotonic() - begun)
        progress.advance(task.cost, task.condition.sentence)
    if not frozen:
        _freeze(bench, folder)


def _fit(bench: Bench, folder: Folder, tasks: Sequence[Task], progress: Progress) -> Bench:
    """Say what signals will cost, and fit those that must be fitted."""
    for sentence in prices(bench.signals, sum(len(task.rows) for task in tasks), len(bench.index.rows_of("fit"))):
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


def _tasks(bench: Bench) -> Iterator[Task]:
    """Clean first; attacks on their subset of the test rows, everything else on all rows."""
    everyone = np.arange(len(bench.index), dtype=np.int64)
    attacked = attacked_rows(bench.index, bench.plan.conditions.attacked)
    for number, condition in enumerate(conditions(bench.plan.conditions.use, bench.source.input_shape)):
        rows = everyone if condition.attack is None else attacked
        for shard, start in enumerate(range(0, len(rows), SHARD)):
            yield Task(f"c{number:03d}-s{shard:04d}", condition, rows[start : start + SHARD], bench.needs.passes)


def attacked_rows(index: Index, count: int) -> Rows:
    """The readable test rows with the smallest content hashes, in the order of the source."""
    test = [row for row in index.rows_of("test") if index.errors[row] is None]
    chosen = sorted(test, key=lambda row: (index.contents[row], index.sample_ids[row]))[:count]
    return np.array(sorted(chosen), dtype=np.int64)


def _describe_run(bench: Bench, folder: Folder) -> None:
    facts = _facts(bench)
    path = folder.path / "run.json"
    if path.exists():
        _check_same(folder, read_json(path), facts)
    write_json(path, facts)


def _check_same(folder: Folder, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
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


def _facts(bench: Bench) -> dict[str, Any]:
    plan, model, index = bench.plan, bench.classifier, bench.index
    found = conditions(plan.conditions.use, bench.source.input_shape)
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
        "roles": {role: len(index.rows_of(role)) for role in ("fit", "tune", "certify", "test")},
        "duplicates": index.duplicates,
        "excluded": index.excluded,
        "groups": index.group_count,
        "attacked": len(attacked_rows(index, plan.conditions.attacked)) if any(c.attack for c in found) else 0,
        "conditions": [_condition_facts(condition) for condition in found],
        "signals": [signal_facts(name, signal, index) for name, signal in bench.signals.items()],
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("demur", "torch", "numpy", "polars")},
        },
    }


def _condition_facts(condition: Condition) -> Mapping[str, Any]:
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
    }
