"""Signals and policies of a plan: built, checked, priced, and fitted on the rows that are there for it."""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from demur import seal
from demur.data import Index
from demur.errors import DemurError, InputError
from demur.evidence import Evidence
from demur.pipeline.drawn_rows import every_row, further_copies
from demur.pipeline.job import Job, finite
from demur.pipeline.plan.resolve import AnyPolicy, second_signal
from demur.pipeline.run.guarantee_fits import certify_policy, readable_rows
from demur.pipeline.run.kept_signals import ORIGIN, UNKEPT, keep_signals, stored_signals
from demur.pipeline.run.run_writer import RunWriter
from demur.pipeline.run.score_tolerance import ScoreTolerance, measure_tolerance
from demur.pipeline.run.threshold_fits import fit_on_clean
from demur.policies import CERTIFIERS, CertifiedPolicy, Look, TuneFitted, choose_signal, dump_policy
from demur.randomness import Keys
from demur.records import groups, wrong
from demur.shapes import Labels
from demur.signals import LOGITS, AnySignal, Fittable, MadeOf, Signal, Telling, needs_of
from demur.splits import FEW, FEWEST


def choose_for_certificates(job: Job, clean: pl.DataFrame) -> tuple[ScoreTolerance, ...]:
    """The signal of certificates, and its tolerance: by the tune rows alone msp unless another is clearly better.

    Where the plan names one it is that. With fewer than 600 images there is nothing to choose: it is msp, fixed in
    advance. The signals of second thresholds follow, with their tolerances.
    """
    clean = without_copies(job.index, clean)
    tune = readable_rows(clean, "tune")
    scores = {name: tune[f"signal.{name}"].to_numpy() for name in job.signals}
    fixed = len(job.index) < FEWEST or not len(tune)
    named = job.plan.signals.certify
    first = named or ("msp" if fixed else choose_signal(scores, wrong(tune), groups(tune)))
    second = [second_signal(policy) for policy in job.policies.values()]
    return tuple(measure_tolerance(job, clean, name) for name in dict.fromkeys([first, *filter(None, second)]))


def without_copies(index: Index, clean: pl.DataFrame) -> pl.DataFrame:
    """The clean rows with each image once: a further copy tells nothing new, and is no independent observation.

    Of equal images the one with the smallest id stays, whatever its label.
    """
    if not index.duplicates:
        return clean
    further = [index.sample_ids[row] for row in further_copies(index.contents, index.sample_ids, every_row(len(index)))]
    return clean.filter(~pl.col("sample_id").is_in(further))


def fit_policies(
    job: Job,
    clean: pl.DataFrame,
    chosen: Sequence[ScoreTolerance] = (),
    looks: Mapping[str, Look] | None = None,
) -> list[dict[str, Any]]:
    """Every policy of the plan, fitted, as plain JSON values: `name`, and `policy`, `refusal` or `unfitted`.

    Args:
        job: with the policies.
        clean: the clean rows.
        chosen: the signal of certificates, and those of second thresholds; by default they are chosen now.
        looks: which look at the certify labels each policy is; those that are not there are a first one.
    """
    chosen, found, clean = chosen or choose_for_certificates(job, clean), looks or {}, without_copies(job.index, clean)
    under_audit = [] if job.guard is None else [_policy_of_guard(job.guard)]
    return under_audit + [
        {"name": text, **_fitted(job.policies[text], clean, chosen, found.get(text, Look()), job.source.classes)}
        for text in job.plan.policies.use
    ]


def _policy_of_guard(policy: CertifiedPolicy) -> dict[str, Any]:
    """The policy of a guard under audit, which nothing here was fitted for."""
    return {"name": "guard", "signal": policy.signals[0], "tune": 0, "policy": dump_policy(policy)}


def _fitted(
    policy: AnyPolicy, clean: pl.DataFrame, chosen: Sequence[ScoreTolerance], look: Look, classes: Sequence[str]
) -> dict[str, Any]:
    if isinstance(policy, CERTIFIERS):
        second = {each.name: each for each in chosen}.get(second_signal(policy) or "")
        return certify_policy(policy, clean, chosen[0], look, classes, second)
    if isinstance(policy, TuneFitted):
        return fit_on_clean(policy, clean)
    return {"policy": dump_policy(policy)}


_TRIED = 4


def try_signals(job: Job) -> None:
    """Refuse signals that these images cannot fit, or that this model cannot serve, before anything is measured.

    Raises:
        InputError: there are no rows to fit on, or the model lacks what a signal reads.
    """
    readable = job.index.readable[:_TRIED]
    x, _ = job.load(readable)
    for name, signal in job.signals.items():
        if isinstance(signal, Fittable) and name not in job.fitted and not len(fit_rows(job.index)):
            raise _nothing_to_fit_on(name, len(job.index))
        if needs_of(signal) != LOGITS:
            with torch.no_grad(), _named(name):
                _try(signal, next(job.evidence(x, _keys(job, readable))))


def _nothing_to_fit_on(name: str, rows: int) -> InputError:
    why = f"They are 5 in 100 from {FEW:,} images on; there are {rows:,}, all needed to guarantee and to test. "
    way_out = "Leave the signal out, bring more images, or mark some as fit in a split of your own."
    if rows >= FEW:
        why, way_out = "The split of your own has none. ", "Leave the signal out, or mark some as fit in your split."
    return InputError(
        f"signal {name!r} must be fitted, on images that serve nothing else (split fit), and there are none. "
        f"{why}{way_out}"
    )


def _try(signal: AnySignal, evidence: Evidence) -> None:
    needs = needs_of(signal)
    if needs.features:
        _ = evidence.features
    for layer in needs.layers:
        evidence.activations(layer)
    if not isinstance(signal, Fittable):
        signal(evidence)


def prices(signals: Mapping[str, AnySignal], rows: int, reference: int) -> Iterator[str]:
    """One sentence for each signal that takes more forward passes: how many they are for so many rows."""
    for name, signal in signals.items():
        needs = needs_of(signal)
        if needs.passes:
            total = needs.passes * rows
            yield (
                f"{name} takes up to {needs.passes:,.4g} more passes over each image: {total:,.0f} passes "
                f"over {rows:,} images under all conditions"
            )
        if needs.fitting:
            yield f"fitting {name} takes about {needs.fitting * reference:,.0f} passes over {reference:,} images"


@dataclass(frozen=True)
class Reference:
    """Clean evidence of the fit rows, batch by batch, anew each time; memory stays flat."""

    job: Job

    def __iter__(self) -> Iterator[Evidence]:
        index = self.job.index
        grouped = index.group_count is not None
        for batch in _batches(fit_rows(index), self.job.plan.batch):
            units = [index.groups[row] or f"image {index.sample_ids[row]}" for row in batch]
            groups = units if grouped else None
            x, _ = self.job.load(batch)
            for evidence in self.job.evidence(x, _keys(self.job, batch), groups=groups):
                finite(evidence.logits)
                yield evidence

    @property
    def labels(self) -> Labels:
        """The labels of its rows, in order."""
        return torch.from_numpy(self.job.index.labels[fit_rows(self.job.index)].astype("int64"))


def fit_signals(job: Job) -> Job:
    """The job with every signal that must be fitted fitted: a pure function of the plan, the model and the fit rows.

    Raises:
        InputError: the rows do not have what a signal must learn from.
    """
    reference, found = Reference(job), dict[str, Signal]()
    for name, signal in job.signals.items():
        if isinstance(signal, Fittable):
            with torch.no_grad(), _named(name):
                found[name] = job.fitted.get(name) or signal.fit(reference, reference.labels)
    return replace(job, fitted=found)


def fitted_signals(job: Job, folder: RunWriter) -> Job:
    """The job with the fitted signals that an interrupted run kept in `fitted/`, or fitted now and kept there.

    Raises:
        InputError: the rows do not have what a signal must learn from.
    """
    if not any(isinstance(signal, Fittable) for signal in job.signals.values()):
        return job
    kept = _kept_signals(job, folder)
    if kept is not None:
        return replace(job, fitted=kept)
    job = fit_signals(job)
    try:
        keep_signals(job, folder.path)
    except InputError as error:  # a signal of a plug-in may hold what no file can; it can be fitted again
        folder.log(UNKEPT, why=str(error))
    return job


def _kept_signals(job: Job, folder: RunWriter) -> dict[str, Signal] | None:
    """The signals in `fitted/`, if they are whole and of this model, these data and this plan."""
    try:
        kept = stored_signals(job, folder.path)
    except DemurError as error:
        folder.log("signals are fitted again", why=str(error))
        return None
    if kept is not None and not folder.has(ORIGIN):  # whoever kept them was killed before it vouched for them
        seal.seal_file(folder.path, ORIGIN)
    return kept


def signal_facts(name: str, signal: AnySignal, index: Index) -> Mapping[str, Any]:
    """What `run.json` says of a signal; of a fitted one also which rows it was fitted on."""
    facts = {
        "name": name,
        "unit": signal.unit,
        "sentence": (signal.__doc__ or name).partition("\n")[0],
        "passes": needs_of(signal).passes,
        **({"made_of": signal.made_of} if isinstance(signal, MadeOf) else {}),
    }
    if not isinstance(signal, Fittable):
        return facts
    ids = [index.sample_ids[row] for row in fit_rows(index)]
    sha256 = hashlib.sha256("\x1f".join(ids).encode()).hexdigest()
    return {**facts, "bank": {"split": "fit", "rows": len(ids), "ids_sha256": sha256}}


def seconds_per_image(job: Job) -> dict[str, Any]:
    """How long each signal takes for an image of one batch beyond the forward pass that all share.

    Timed the second time it is computed; outside every guarantee of identity.
    """
    rows = job.index.readable[: job.plan.batch]
    seen = next(job.evidence(job.load(rows)[0], _keys(job, rows)))
    with torch.no_grad():
        shared = _seconds(lambda: next(job.evidence(seen.images, seen.keys)).logits)
        own = {name: _seconds(partial(signal, seen)) for name, signal in job.ready.items()}
    return {
        "images": len(rows),
        "forward_pass": shared / len(rows),
        "signals": {k: s / len(rows) for k, s in own.items()},
    }


def _seconds(work: Callable[[], Tensor]) -> float:
    work()
    begun = time.perf_counter()
    work().cpu()
    return time.perf_counter() - begun


def fit_facts(job: Job) -> list[dict[str, Any]]:
    """What fitted signals tell of their fitting, as plain JSON values."""
    return [
        {"name": name, "facts": dict(signal.facts)}
        for name, signal in job.fitted.items()
        if isinstance(signal, Telling)
    ]


def fit_rows(index: Index) -> NDArray[np.int64]:
    """The readable rows that signals are fitted on."""
    return np.intersect1d(index.rows_of("fit"), index.readable, assume_unique=True)


def _batches(rows: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _keys(job: Job, rows: Sequence[int] | NDArray[np.int64]) -> Keys:
    return Keys.of(job.plan.seed, [job.index.sample_ids[row] for row in rows], "fit")


@contextmanager
def _named(name: str) -> Iterator[None]:
    """A refusal names the signal it is about."""
    try:
        yield
    except InputError as error:
        raise type(error)(f"signal {name!r}: {error}") from error
