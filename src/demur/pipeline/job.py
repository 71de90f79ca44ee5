"""The resolved job of an audit, handed down to everything that measures, and its work cut into shards."""

import math
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import reduce
from operator import or_
from typing import Any

import numpy as np
import torch
from torch import Tensor

from demur.adapters import load_model
from demur.attribution import AttributionMap
from demur.classifier import BoundClassifier
from demur.classifier.devices import on_device
from demur.data import Index, Source, UnknownImages
from demur.data.image_content import still_marked, still_the_same
from demur.data.kept_images import KeptImages
from demur.errors import InputError, ModelError
from demur.evidence import Evidence
from demur.pipeline.drawn_rows import Draw, DrawnRows, attackable, by_hash, drawn_rows, every_row, growth, section_rows
from demur.pipeline.drawn_rows import IndexRows as IndexRows
from demur.pipeline.plan.conditions import Condition
from demur.pipeline.plan.plan_file import Plan
from demur.pipeline.plan.resolve import AnyPolicy, Setup
from demur.pipeline.plan.sizing import Sizing
from demur.pipeline.plan.strata_bound import USUAL_LEAST
from demur.policies import CertifiedPolicy
from demur.randomness import Keys
from demur.registry import Call
from demur.registry.regular_files import MIB
from demur.shapes import Flags, Images, Labels, Logits
from demur.signals import LOGITS, AnySignal, Fittable, Needs, Signal, needs_of

SHARD = 512
"""Rows per shard of small images: at least four batches, so that an active set has rows to refill from."""

_SHARD_BYTES = 320 * MIB  # pixels as float32, of which an attack holds several copies at once


def shard_rows(input_shape: Sequence[int]) -> int:
    """Rows per shard of images of a shape: a power of two, the fewer the larger they are.

    >>> shard_rows((3, 224, 224)), shard_rows((3, 640, 640))
    (512, 64)
    """
    fitting = max(1, _SHARD_BYTES // (4 * math.prod(input_shape)))
    return min(SHARD, 1 << (fitting.bit_length() - 1))


@dataclass(frozen=True)
class Job:
    """A plan with everything it needs to be measured, built once and never changed.

    To another process it travels pickled: a source reopens its address, a classifier is loaded from `model` again.

    Attributes:
        plan: every default written out.
        classifier: the model under audit.
        source: the images.
        index: the rows that take part.
        conditions: in the order they are measured: clean, attacks, corruptions, unknown images, then the sections.
        signals: by canonical name.
        policies: by the text that the plan has for them.
        maps: attribution maps by canonical name, regions that are maps among them.
        calls: names of the plan; `surrogate`: a similar model, whose adversarial points might carry over.
        fitted: those of the `signals` that had to be fitted, fitted.
        model: the address that the classifier was loaded from; None where it was given.
        unknown: images of none of the classes, where the plan has some.
        guard: the policy of the guard under audit, in the place of guarantees of its own; None where there is none.
        kept: images of the source that were decoded already.
        preprocessing: how a picture comes to the model, line by line.
        sizing: how much smaller the usual plan was made for a large model; None where it was not.
    """

    plan: Plan
    classifier: BoundClassifier
    source: Source
    index: Index
    conditions: tuple[Condition, ...] = ()
    signals: Mapping[str, AnySignal] = field(default_factory=dict)
    policies: Mapping[str, AnyPolicy] = field(default_factory=dict)
    maps: Mapping[str, AttributionMap] = field(default_factory=dict)
    calls: tuple[Call, ...] = ()
    surrogate: BoundClassifier | None = None
    fitted: Mapping[str, Signal] = field(default_factory=dict)
    model: str | None = None
    unknown: UnknownImages | None = None
    guard: CertifiedPolicy | None = None
    kept: KeptImages = field(default_factory=KeptImages, compare=False, repr=False)
    preprocessing: tuple[str, ...] = ()
    sizing: Sizing | None = None

    @classmethod
    def of(cls, setup: Setup, classifier: BoundClassifier, source: Source, index: Index, **others: Any) -> "Job":
        """The job of a resolved plan; `others` are fields that no plan has, such as `model` and `unknown`."""
        built = {each.name: getattr(setup, each.name) for each in fields(setup)}
        return cls(classifier=classifier, source=source, index=index, **built, **others)

    def __reduce__(self) -> tuple[Any, ...]:
        parts = {each.name: getattr(self, each.name) for each in fields(self)}
        if self.model is not None:
            parts["classifier"] = (self.classifier.sha256, str(self.classifier.device))
        return _restored, ({name: _dumped(name, part) for name, part in parts.items()},)

    @property
    def scored(self) -> tuple[Condition, ...]:
        """The conditions proper, under which every signal is scored."""
        return tuple(condition for condition in self.conditions if condition.scored)

    @property
    def sections(self) -> tuple[Condition, ...]:
        """The searches, maps and occlusions."""
        return tuple(condition for condition in self.conditions if not condition.scored)

    @property
    def needs(self) -> Needs:
        """What all signals need together."""
        return reduce(or_, map(needs_of, self.signals.values()), LOGITS)

    @property
    def ready(self) -> Mapping[str, Signal]:
        """The signals, fitted where they had to be."""
        return {
            name: self.fitted[name] if isinstance(signal, Fittable) else signal for name, signal in self.signals.items()
        }

    def rows(self, condition: Condition) -> IndexRows:
        """The index rows of a condition: attacks and corruptions have what was drawn, sections theirs, others all.

        Those of images of none of the classes are of an index of their own.
        """
        if (found := self.drawn(condition)) is not None:
            return found.rows
        match condition.kind:
            case "unknown" if self.unknown is not None:
                return every_row(len(self.unknown.index))
            case "epsilon" if condition.region is None:
                return self.first_rows(self.plan.epsilon.images)
            case "epsilon" | "map" | "intervention":
                return self.first_rows(self.plan.attribution.images)
            case _:
                return every_row(len(self.index))

    def drawn(self, condition: Condition) -> DrawnRows | None:
        """How the rows of a condition were drawn; None where it has all, or as many as a section says."""
        draw = self._draw(condition.kind)
        if draw is None:
            return None
        return drawn_rows(self.index, attackable(self.index) if condition.kind == "attack" else None, draw)

    def _draw(self, kind: str) -> Draw | None:
        plan = self.plan.conditions
        count = {"attack": plan.attacked, "corruption": plan.corrupted}.get(kind)
        return None if count is None else Draw(count, plan.strata, USUAL_LEAST if plan.least is None else plan.least)

    def growths(self) -> Iterator[str]:
        """What is to be said of samples that strata make much larger.

        Raises:
            InputError: one of them has become all images.
        """
        first = {condition.kind: condition for condition in reversed(self.conditions)}
        for kind, name in (("attack", "conditions.attacked"), ("corruption", "conditions.corrupted")):
            draw = self._draw(kind)
            found = self.drawn(first[kind]) if kind in first else None
            said = None if found is None or draw is None else growth(found, draw, name)
            if said is not None:
                yield said

    def on_images_of(self, condition: Condition) -> "Job":
        """The job whose source and index are of the images that a condition is about."""
        if condition.kind != "unknown" or self.unknown is None:
            return self
        return replace(self, source=self.unknown.source, index=self.unknown.index, kept=KeptImages(0))

    def first_rows(self, count: int) -> IndexRows:
        """The first so many rows that sections are about."""
        return section_rows(self.index, self.plan.conditions.attacked, count)

    def evidence(
        self, x: Images, keys: Keys, logits: Logits | None = None, groups: Sequence[str] | None = None
    ) -> Iterator[Evidence]:
        """What the model shows of images, batch by batch."""
        needs = self.needs
        for batch in torch.split(torch.arange(len(x)), self.plan.batch):
            part = slice(int(batch[0]), int(batch[-1]) + 1)
            yield Evidence(
                self.classifier,
                x[part],
                needs.layers,
                None if logits is None else logits[part],
                features=needs.features,
                keys=keys.rows(batch.tolist()),
                groups=None if groups is None else groups[part],
                check=False,
            )

    def load(self, rows: Sequence[int] | IndexRows) -> tuple[Images, Labels]:
        """Images (rows, channels, height, width) and labels; an unreadable image is a grey stand-in, nulled later."""
        positions = [int(self.index.positions[row]) for row in rows]
        images = torch.empty(len(positions), *self.source.input_shape)
        unreadable = [at for at, row in enumerate(rows) if self.index.errors[row] is not None]
        absent = sorted({*self.kept.fill(images, positions)} - {*unreadable})
        images[unreadable] = 0.5
        for at, found in zip(absent, self.source.read([positions[at] for at in absent]), strict=True):
            images[at] = image = still_the_same(found, self.source.input_shape, self.index.contents[int(rows[at])])
            self.kept.keep(positions[at], image)
        labels = torch.from_numpy(self.index.labels[np.asarray(rows)].astype("int64"))
        device = self.classifier.device
        return images.clamp_(0, 1).to(device), labels.to(device)  # rounding may have left the range

    def marks(self, rows: Sequence[int] | IndexRows) -> tuple[Tensor, Flags]:
        """Where the data say the object is, (rows, height, width), and which images have such a mark."""
        masks = torch.zeros(len(rows), *self.source.input_shape[1:], dtype=torch.bool)
        marked = [at for at, row in enumerate(rows) if self.index.marks and self.index.marks[row] is not None]
        found = self.source.read([int(self.index.positions[rows[at]]) for at in marked])
        for at, row in zip(marked, found, strict=True):
            masks[at] = still_marked(row, self.index.marks[rows[at]])
        return masks.to(self.classifier.device), masks.flatten(1).any(dim=1).to(self.classifier.device)

    def keys(self, rows: Sequence[int] | IndexRows, name: str) -> Keys:
        """What is drawn for some rows under something of a name."""
        return Keys.of(self.plan.seed, [self.index.sample_ids[row] for row in rows], name)


def finite(logits: Logits) -> Logits:
    """The logits, all of which are numbers.

    Raises:
        ModelError: some are NaN or infinite.
    """
    if not logits.isfinite().all():
        bad = int((~logits.isfinite()).any(dim=1).sum())
        raise ModelError(
            f"a model's outputs must be finite; {bad} of {len(logits)} images gave NaN or infinity. Check the weights."
        )
    return logits


_WORDS = {
    "classifier": "model",
    "source": "data",
    "conditions": "attacks",
    "maps": "attribution maps",
    "unknown": "unknown images",
}


def _dumped(name: str, part: object) -> bytes:
    try:
        return pickle.dumps(part)
    except Exception as error:  # parts that were given may raise anything
        reason = (str(error) or type(error).__name__).partition("\n")[0].rstrip(".")
        raise InputError(
            f"the {_WORDS.get(name, name)} of this job cannot be sent to another process: {reason}. Name an address "
            "instead of an object in memory, define it in a module that can be imported, or run in one process."
        ) from error


def _restored(dumped: Mapping[str, bytes]) -> Job:
    parts = {name: pickle.loads(part) for name, part in dumped.items()}  # noqa: S301 - this process's own job
    if parts["model"] is not None:
        sha256, device = parts["classifier"]
        source = parts["source"]
        classifier = load_model(parts["model"], classes=source.classes, input_shape=source.input_shape)
        if classifier.sha256 != sha256:
            raise ModelError(
                f"the model at {parts['model']} must be the one that the job began with; its weights have changed. "
                "Bring them back, or begin a new run."
            )
        parts["classifier"] = classifier if str(classifier.device) == device else on_device(classifier, device)
    return Job(**parts)


@dataclass(frozen=True)
class Shard:
    """One shard of one condition."""

    name: str
    condition: Condition
    rows: IndexRows
    passes: float = 0.0
    """Of signals, beyond the one that all share."""
    lost: Mapping[int, str] = field(default_factory=dict)
    """Rows that are not asked about, for the model fails on their clean images, and why."""
    piece: bool = False
    """Whether these are only some rows of the planned shard of this name."""

    @property
    def cost(self) -> int:
        """Passes it may take at most; a backward costs about as much as a forward."""
        attack = self.condition.attack
        steps = 0 if attack is None else attack.steps * attack.restarts
        steps += 0 if self.condition.map is None else self.condition.map.gradients
        return round(len(self.rows) * (1 + 2 * steps + self.passes))

    def of_rows(self, rows: IndexRows) -> "Shard":
        """The piece of it with these rows."""
        lost = {int(row): self.lost[int(row)] for row in rows if int(row) in self.lost}
        return replace(self, rows=rows, lost=lost, piece=True)

    def without(self, lost: Mapping[int, str]) -> "Shard":
        """The shard in which those of some rows are told of and not asked about, where clean images are its start.

        One that ended processes is not asked about at all.
        """
        if self.condition.kind == "unknown":  # its rows are of other images
            return self
        own = {int(row): lost[int(row)] for row in self.rows if int(row) in lost}
        if self.condition.kind in _ON_EVERY_IMAGE:
            own = {row: why for row, why in own.items() if why.startswith(DIED)}
        return replace(self, lost=own) if own else self


_ON_EVERY_IMAGE = frozenset({"clean", "corruption"})
"""Kinds of conditions that do not begin with what the model answers to the clean image."""

DIED = "the process that measured it "
"""How the error of a row begins that no process survived."""


def shards(job: Job) -> Iterator[Shard]:
    """Clean first, then the plan's conditions, then its searches, maps and occlusions."""
    for number, condition in enumerate(job.conditions):
        rows = job.rows(condition)
        passes = job.needs.passes if condition.scored else 0.0
        most = shard_rows(job.source.input_shape)
        for shard, start in enumerate(range(0, len(rows), most)):
            yield Shard(f"c{number:03d}-s{shard:04d}", condition, rows[start : start + most], passes)


def attacked_tune_rows(job: Job) -> IndexRows:
    """The tune rows that thresholds against attacks are fitted on: as many as are attacked, by hash, in order."""
    tune = by_hash(job.index, job.index.rows_of("tune"))
    return np.sort(tune[: job.plan.conditions.attacked])
