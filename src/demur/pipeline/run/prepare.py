"""From a plan to its job: the images, the model and the guard that it names, or objects that stand in for them."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from demur.adapters import load_model
from demur.classifier import BoundClassifier
from demur.classifier.devices import on_device
from demur.classifier.multiply_adds import multiply_adds
from demur.compact import Choices
from demur.containment import contained, give_back_memory
from demur.data import Source, build_index, check_same_shape, open_unknown
from demur.data.index import Index
from demur.data.kept_images import KeepingSource, KeptImages
from demur.data.lost_images import LostIds, never_decoding, without_undecoded
from demur.data.relabelled import as_opened, under_classes
from demur.data.scan import Scanner, scan
from demur.data.unknown_images import unknown_images
from demur.errors import InputError, ModelError
from demur.guard.guard_folder import guard_facts, model_place, read_built_on, read_guard
from demur.pipeline.drawn_rows import check_strata
from demur.pipeline.job import Job
from demur.pipeline.pairing import open_data_for
from demur.pipeline.plan.guarantee_names import uncertified
from demur.pipeline.plan.plan_file import Plan
from demur.pipeline.plan.resolve import Setup, check_batch, resolve
from demur.pipeline.plan.sizing import Effort
from demur.pipeline.preflight import has_maps
from demur.pipeline.preprocessing_lines import preprocessing_lines
from demur.pipeline.run.guarantee_fits import check_sites
from demur.pipeline.run.resources import Resources
from demur.policies import CertifiedPolicy
from demur.signals import Fittable, Signal

Reading: TypeAlias = Callable[[Plan, Sequence[Source]], AbstractContextManager[Sequence[Source]]]
"""What is entered while images are read: (resolved plan, images and unknown ones) → those to read."""


@dataclass(frozen=True, kw_only=True)
class StandIns:
    """Objects that stand in for those at the addresses of a plan, and where the model runs.

    Attributes:
        source: labelled images.
        classifier: the model.
        unknown: images of none of the classes.
        device: by default where the model is loaded; no part of the plan.
    """

    source: Source | None = None
    classifier: BoundClassifier | None = None
    unknown: Source | None = None
    device: str | None = None

    @property
    def in_memory(self) -> bool:
        """Whether any is an object of this process, or on a device that processes would have to share."""
        given = (self.source, self.classifier, self.unknown)
        return any(each is not None for each in given) or self.device not in {None, "cpu"}

    @property
    def images_in_memory(self) -> bool:
        """Whether the images are objects of this process, which it therefore reads alone."""
        return self.source is not None or self.unknown is not None

    def settled(self, resources: Resources | None) -> Resources:
        """What may be used where these stand in."""
        return (resources or Resources()).settled(alone=self.in_memory, reading_alone=self.images_in_memory)


@dataclass(frozen=True, kw_only=True)
class AuditedGuard:
    """What an audit of a guard takes from it: its policy, its signals and the images it was built on."""

    policy: CertifiedPolicy
    signals: dict[str, Signal]
    built_on: frozenset[str]

    @classmethod
    def read(cls, folder: Path, sha256: str | None, classifier: BoundClassifier) -> "AuditedGuard":
        """The guard in a folder, which must guard this classifier.

        Raises:
            InputError: the folder is no guard, or was changed.
            ModelError: it guards another model.
        """
        guard = read_guard(folder, sha256)
        certified = model_place(guard_facts(folder)["model"]).sha256  # a program of it has a hash of its own
        if classifier.sha256 not in {guard.sha256, certified}:
            raise ModelError(
                f"the guard in {folder} is of the model {certified[:16]}…, and this is {classifier.sha256[:16]}…. "
                "A certificate is about one model: name that one, or fit a guard for this one."
            )
        return cls(policy=guard.policy, signals=dict(guard.signals), built_on=read_built_on(folder).every)


def prepared_job(
    plan: Plan,
    others: StandIns,
    say: Callable[[str], None],
    reading: Reading = lambda _plan, sources: nullcontext(sources),
    kept: KeptImages | None = None,
    scanner: Scanner = scan,
    lost: LostIds | None = None,
) -> Job:
    """The job of a plan, before anything is asked of the model.

    Args:
        plan: as it was read.
        others: what stands in for what it names.
        say: told what is being done.
        reading: called with the resolved plan and the images, behind which are the unknown ones if there are any,
            before they are read, such as to refuse a folder; what it gives is entered while they are, and they are
            read from the sources it gives.
        kept: where the images that are read now are kept; by default some are.
        scanner: finds the rows of the images; by default they are read here, one after the other.
        lost: images that are not to be decoded, not even where the data are opened.

    Raises:
        InputError: something that is named cannot be used.
    """
    lost = lost or LostIds()
    plan, source, classifier = images_and_model(plan, others, lost)
    guard = None if plan.guard is None else AuditedGuard.read(Path(plan.guard.folder), plan.guard.sha256, classifier)
    setup = _setup(plan if guard is None else _guarded(plan, guard), source, classifier, say)
    learned = classifier.learned_from if guard is None else classifier.learned_from | guard.built_on
    kept = KeptImages() if kept is None else kept
    with reading(setup.plan, [source, *unknown_source(plan, source, others, lost)]) as (source, *unknown):
        say("reading the images")
        limit, keeping = plan.data.limit, KeepingSource(source, kept)
        index = build_index(keeping, limit=limit, exclude=learned, held_out=True, scanner=scanner)
        found = [unknown_images(each, index, classifier.classes, limit, scanner) for each in unknown]
        give_back_memory()
    source = without_undecoded(source, index.undecoded)
    index = index if guard is None else _all_test(index)
    check_sites(setup.policies, index)
    check_strata(index, plan.conditions.strata, plan.conditions.least)
    address = None if others.classifier is not None else plan.model.address
    lines = preprocessing_lines(address, classifier, as_opened(source))
    parts = {"model": address, "unknown": next(iter(found), None), "kept": kept, "preprocessing": lines}
    job = Job.of(setup, classifier, source, index, **parts)
    for sentence in job.growths():
        say(sentence)
    return job if guard is None else _with_guard(job, guard)


def images_and_model(plan: Plan, others: StandIns, lost: LostIds) -> tuple[Plan, Source, BoundClassifier]:
    """The plan with the address of its images as they are opened, these under the classes of the model, and the model.

    Raises:
        InputError: something that is named cannot be used.
    """
    source = others.source
    if source is None:  # one without rows is false
        with never_decoding(lost.images):
            source = open_data_for(None if others.classifier is not None else plan.model.address, plan.data.address)
        plan = plan.with_data(source.address)
    check_batch(plan, source)
    classifier = _classifier(plan, source, others)
    return plan, under_classes(source, classifier.classes, plan.model.address), classifier


def _bears(plan: Plan, classifier: BoundClassifier) -> dict[str, bool]:
    """What of a plan a model bears; its gradients are asked for where the plan leaves the attacks open."""
    gradients = bool(plan.conditions.use) or not classifier.gradient_fault
    return {"spatial": has_maps(classifier), "gradients": gradients}


def _all_test(index: Index) -> Index:
    """The index where nothing is placed or certified: every image may judge."""
    return replace(index, splits=Choices(np.ones(len(index), np.uint8), ("test",)))


def written_out(plan: Plan) -> tuple[Plan, tuple[str, ...]]:
    """A plan as an audit would write it out, and what is to be said of it; nothing is asked of the model but one pass.

    Raises:
        InputError: the data cannot be opened, or the plan names something that cannot be.
    """
    source = open_data_for(plan.model.address, plan.data.address)
    plan = plan.with_data(source.address)
    try:
        classifier = _classifier(plan, source, StandIns())
        source = under_classes(source, classifier.classes, plan.model.address)
    except InputError as error:
        note = f"the model cannot be used as it is, and the plan below is that of any small one: {error}"
        setup, notes = resolve(plan, source), [note]
    else:
        notes = []
        setup = _setup(plan, source, classifier, notes.append)
    growths = Effort.before(source, setup.plan).growths(setup.plan, setup.conditions)
    return setup.plan, (*notes, *growths)


def _setup(plan: Plan, source: Source, classifier: BoundClassifier, say: Callable[[str], None]) -> Setup:
    """The plan resolved for a model; its multiply-adds are counted where the plan does not say what is measured."""
    cost = 0 if plan.conditions.use else multiply_adds(classifier)
    setup = resolve(plan, source, **_bears(plan, classifier), multiply_adds=cost)
    if setup.sizing is not None:
        say(setup.sizing.sentence)
    return setup


def _with_guard(job: Job, guard: AuditedGuard) -> Job:
    fitted = {name: own for name, own in guard.signals.items() if isinstance(job.signals.get(name), Fittable)}
    return replace(job, guard=guard.policy, fitted=fitted)


def _guarded(plan: Plan, guard: AuditedGuard) -> Plan:
    """The plan with the signals of the guard, and without other guarantees."""
    use = tuple(dict.fromkeys((*plan.signals.use, *guard.policy.signals)))
    kept = plan.policies.model_copy(update={"use": uncertified(plan.policies.use)})
    return plan.model_copy(update={"signals": plan.signals.model_copy(update={"use": use}), "policies": kept})


def _classifier(plan: Plan, source: Source, others: StandIns) -> BoundClassifier:
    """The classifier that was given or that the plan names, where it is to run."""
    classifier = others.classifier
    if classifier is None:
        with contained():
            classifier = load_model(plan.model.address, classes=source.classes, input_shape=source.input_shape)
    return classifier if others.device is None else on_device(classifier, others.device)


def unknown_source(plan: Plan, source: Source, others: StandIns, lost: LostIds) -> list[Source]:
    """The images of none of the classes that were given or that the plan names, if so."""
    if plan.data.unknown is None:
        return []
    stand_in = others.unknown
    with never_decoding(lost.unknown):
        return [open_unknown(plan.data.unknown, source) if stand_in is None else check_same_shape(stand_in, source)]
