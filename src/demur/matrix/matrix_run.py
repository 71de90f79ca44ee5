"""A matrix from its plan to its cells: one audit for each model, and a reason wherever there is no number."""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from demur.analysis import write_results
from demur.analysis.run_folder import open_run
from demur.containment import contained
from demur.errors import DemurError
from demur.files import locked
from demur.foreign import blamed
from demur.matrix.matrix_cells import Cell, Place, finished_cell, places, write_cell, write_table
from demur.matrix.matrix_plan import Axes
from demur.pipeline.job import Job
from demur.pipeline.preflight import preflight_checks, try_attacks
from demur.pipeline.run.effort import Progress
from demur.pipeline.run.fitting import fit_signals, try_signals
from demur.pipeline.run.loop import run_plan
from demur.pipeline.run.prepare import StandIns, prepared_job
from demur.pipeline.run.resources import Resources
from demur.registry import build
from demur.report import write

RUNS = "runs"


def run_matrix(
    axes: Axes, out: Path, progress: Progress, *, device: str | None = None, resources: Resources | None = None
) -> tuple[Cell, ...]:
    """Every cell of a matrix, in its order; those that have numbers already are not run again.

    A model, an attack or a signal that fails leaves its cells with the reason, and all others are measured.

    Args:
        axes: models, attacks and signals.
        out: the folder for cells, table and audits.
        progress: told what is being done.
        device: where models run.
        resources: what of the machine may be used.

    Raises:
        RunError: another process writes into the folder.
    """
    found, everyone = list[Cell](), tuple(places(axes))
    with locked(out):
        for model in axes.models:
            own = [place for place in everyone if place.model == model]
            kept = {place: cell for place in own if (cell := finished_cell(out, place)) is not None}
            audit = Audit(axes=axes, model=model, out=out, progress=progress, device=device, resources=resources)
            cells = kept | audit.cells([place for place in own if place not in kept])
            found += [cells[place] for place in own]
            write_table(out, found)
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Audit:
    """The audit of one model, which all its cells are read from."""

    axes: Axes
    model: str
    out: Path
    progress: Progress
    device: str | None
    resources: Resources | None

    def cells(self, missing: Sequence[Place]) -> dict[Place, Cell]:
        """These cells, written as soon as they are there: with numbers, or with the reason why there are none."""
        if not missing:
            return {}
        self.progress.say(f"{self.model}: {len(missing)} cells")
        try:
            refused = self._refused(missing)
        except DemurError as error:
            return self._written({place: place.failed(str(error)) for place in missing})
        reasons = {
            place: refused.get(("attack", place.attack)) or refused.get(("signal", place.signal)) for place in missing
        }
        failed = self._written({place: place.failed(reason) for place, reason in reasons.items() if reason})
        return failed | self._written(self._measured([place for place, reason in reasons.items() if not reason]))

    def _written(self, cells: dict[Place, Cell]) -> dict[Place, Cell]:
        for place, cell in cells.items():
            write_cell(self.out, place, cell)
        return cells

    def _refused(self, missing: Sequence[Place]) -> dict[tuple[str, str], str]:
        """The attacks and signals that this model or these images cannot have, by kind and name, and why.

        Each is tried alone, and a signal fitted alone, so that one that fails takes no other with it.
        """
        plan = self.axes.plan.audit(self.model, (), ())
        conditions = {each.name: each for each in self.axes.attacks}
        with blamed(), contained():
            job = prepared_job(plan, StandIns(device=self.device), self.progress.say)
            preflight_checks(job)
            trials: dict[tuple[str, str], Callable[[], object]] = {}
            for place in missing:
                attack, signal = conditions[place.attack], place.signal
                trials["attack", attack.name] = partial(try_attacks, [attack], job.classifier)
                trials["signal", signal] = partial(_try_signal, job, signal)
            tried = {key: _reason(trial) for key, trial in trials.items()}
        return {key: reason for key, reason in tried.items() if reason is not None}

    def _measured(self, usable: Sequence[Place]) -> dict[Place, Cell]:
        """The cells that one audit of the model gives."""
        if not usable:
            return {}
        attacks, signals = (tuple(dict.fromkeys(names)) for names in zip(*_names(usable), strict=True))
        plan = self.axes.plan.audit(self.model, attacks, signals)
        name = f"{RUNS}/{_slug(self.model)}-{_digest(plan.sha256, self.axes.models[self.model])}"
        try:
            run_plan(plan, self.out / name, self.progress, device=self.device, resources=self.resources)
            results = write_results(self.out / name, by="matrix")
        except DemurError as error:
            return {place: place.failed(str(error)) for place in usable}
        write(self.out / name, results)
        run = open_run(self.out / name)
        return {place: place.finished(run, results, name) for place in usable}


def _names(cells: Iterable[Place]) -> list[tuple[str, str]]:
    return [(place.attack, place.signal) for place in cells]


def _try_signal(job: Job, name: str) -> None:
    own = replace(job, signals={name: build("signal", name)}, fitted={})
    try_signals(own)
    fit_signals(own)


def _reason(trial: Callable[[], object]) -> str | None:
    """Why something cannot be; None where it can."""
    try:
        with blamed():
            trial()
    except DemurError as error:
        return str(error)
    return None


def _slug(address: str) -> str:
    place = address.partition("?")[0]
    return re.sub(r"[^a-z0-9]+", "_", place.lower()).strip("_")[-60:]


def _digest(*parts: str) -> str:
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:8]
