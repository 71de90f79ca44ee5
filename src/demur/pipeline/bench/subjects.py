"""What is timed: a model alone, and with each signal that suits it, on images of its own data or drawn at random."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from demur.attribution.explain_model import open_model
from demur.classifier import BoundClassifier
from demur.classifier.devices import on_device
from demur.errors import InputError
from demur.evidence import Evidence
from demur.pipeline.job import Job
from demur.pipeline.plan.plan_file import read_plan
from demur.pipeline.preflight import preflight_checks
from demur.pipeline.run.fitting import fit_rows, fit_signals, try_signals
from demur.pipeline.run.prepare import StandIns, prepared_job
from demur.randomness import Keys, uniform
from demur.registry import build, name_of, names
from demur.shapes import Images
from demur.signals import LOGITS, AnySignal, Fittable, Needs, Signal, needs_of

MODEL = "model"
"""What the model alone is called in tables."""

_POOL = 256
_DRAWN = "drawn at random, every pixel alike in [0, 1]"


@dataclass(frozen=True, eq=False, kw_only=True)
class Subject:
    """A model, with one signal or alone, that is asked about a batch as a guard would ask it."""

    name: str
    classifier: BoundClassifier
    signal: Signal | None = None
    needs: Needs = LOGITS

    def __call__(self, x: Images, keys: Keys) -> None:
        """Answer one batch to the end: the results are on the CPU."""
        if self.signal is None:
            self.classifier.logits(x).cpu()
            return
        evidence = Evidence(self.classifier, x, self.needs.layers, features=self.needs.features, keys=keys, check=False)
        _ = evidence.logits
        self.signal(evidence).cpu()


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A signal that is not timed, and why."""

    signal: str
    reason: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Bench:
    """Everything that is timed, and the images (rows, channels, height, width) it is asked about."""

    alone: Subject
    signals: tuple[Subject, ...]
    left_out: tuple[LeftOut, ...]
    images: Images
    keys: Keys
    origin: str

    def batch(self, turn: int, size: int) -> tuple[Images, Keys]:
        """The images of one turn: each turn others, until all had one."""
        rows = (turn * size + np.arange(size)) % len(self.images)
        return self.images[torch.from_numpy(rows)], self.keys.rows(rows.tolist())


def bench_of(
    model: str,
    data: str | None,
    signals: Sequence[str],
    say: Callable[[str], None],
    *,
    limit: int | None = None,
    seed: int = 0,
    device: str | None = None,
) -> Bench:
    """The model and the signals that suit it; without data none that would have to be fitted.

    Args:
        model: its address.
        data: the address of labelled images; without it images are drawn at random.
        signals: their names; by default every one there is.
        say: told what is being done.
        limit: use so many of the images only.
        seed: of everything random.
        device: where the model runs.

    Raises:
        InputError: a name or an address that leads nowhere, or data that are not the model's.
    """
    wanted, refused = _built(signals)
    job = None if data is None else _job(model, data, limit, seed, device, say)
    classifier = _alone(model, device) if job is None else job.classifier
    images, keys, origin = _drawn(classifier, seed) if job is None else _read(job)
    found = list[Subject]()
    for name, signal in wanted.items():
        say(f"trying {name}")
        try:
            ready = _ready(job, name, signal)
            subject = Subject(name=name, classifier=classifier, signal=ready, needs=needs_of(signal))
            with torch.no_grad():
                subject(images[:2], keys.rows([0, 1]))
        except InputError as error:
            refused.append(LeftOut(signal=name, reason=str(error).removeprefix(f"signal {name!r}: ")))
        else:
            found.append(subject)
    alone = Subject(name=MODEL, classifier=classifier)
    return Bench(alone=alone, signals=tuple(found), left_out=tuple(refused), images=images, keys=keys, origin=origin)


def _built(texts: Sequence[str]) -> tuple[dict[str, AnySignal], list[LeftOut]]:
    """Canonical name → signal. Of names that were not chosen one by one, those that need a setting are left out."""
    found, refused = dict[str, AnySignal](), list[LeftOut]()
    for text in texts or names("signal"):
        try:
            signal = build("signal", text)
        except InputError as error:
            if texts:
                raise
            refused.append(LeftOut(signal=text, reason=str(error)))
        else:
            found[name_of("signal", signal)] = signal
    return found, refused


def _job(model: str, data: str, limit: int | None, seed: int, device: str | None, say: Callable[[str], None]) -> Job:
    """The job of an audit of clean images alone, whose splits say what signals may be fitted on."""
    changes = {
        "model.address": model,
        "data.address": data,
        "seed": seed,
        "conditions.use": ["clean"],
        "signals.use": ["msp"],
        "policies.use": [],
        **({} if limit is None else {"data.limit": limit}),
    }
    job = prepared_job(read_plan(None, (), changes, shipped=False), StandIns(device=device), say)
    preflight_checks(job)
    return job


def _ready(job: Job | None, name: str, signal: AnySignal) -> Signal:
    """The signal, fitted on the split fit where it must be."""
    if job is not None:
        own = replace(job, signals={name: signal}, fitted={})
        try_signals(own)
        return fit_signals(own).ready[name]
    if isinstance(signal, Fittable):
        raise InputError("it must be fitted to labelled images, and none were named: demur bench MODEL DATA.")
    return signal


def _alone(model: str, device: str | None) -> BoundClassifier:
    classifier = open_model(model, ())
    return classifier if device is None else on_device(classifier, device)


def _drawn(classifier: BoundClassifier, seed: int) -> tuple[Images, Keys, str]:
    """Images of no content: time depends on it for few models and few signals."""
    keys = Keys.of(seed, [str(row) for row in range(_POOL)], "bench")
    images = uniform(keys.seeds("image"), "image", torch.empty(_POOL, *classifier.input_shape))
    return images.to(classifier.device), keys, _DRAWN


def _read(job: Job) -> tuple[Images, Keys, str]:
    """Readable images that no signal was fitted on."""
    fit = set(fit_rows(job.index).tolist())
    rows = [int(row) for row in _spread(job) if int(row) not in fit][:_POOL]
    if not rows:
        raise InputError(f"{job.source.address} has no readable image that signals are not fitted on. Bring more.")
    return job.load(rows)[0], job.keys(rows, "bench"), f"{len(rows):,} of {job.source.address}"


def _spread(job: Job) -> Iterator[int]:
    """The readable rows, those from all over the set first."""
    readable = job.index.readable
    step = max(1, len(readable) // _POOL)
    first = readable[::step].tolist()
    yield from first
    yield from (row for row in readable.tolist() if row not in set(first))
