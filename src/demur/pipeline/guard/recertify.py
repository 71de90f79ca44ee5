"""A guard on new labels: whether its certificate still stands, and the certificate that these labels give."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from demur.data import Index, Row, Source, build_index
from demur.data.relabelled import under_classes
from demur.errors import DataError, InputError
from demur.guard.card import BuiltOn, Card, check_ahead
from demur.guard.decisions import Decisions
from demur.guard.file_list import LEDGER
from demur.guard.golden_vectors import read_pictures, write_golden
from demur.guard.guard import Guard
from demur.guard.guard_folder import check_place, guard_facts, model_place, read_built_on, read_guard, write_guard
from demur.guard.model_files import copy_model
from demur.ledger import Inquiry, LabelledRows, Ledger
from demur.metrics import Estimate
from demur.metrics.binomial import clopper_pearson
from demur.pipeline.drawn_rows import further_copies
from demur.pipeline.pairing import open_data_by
from demur.policies import (
    PROCEDURE,
    AnyCertificate,
    Calibration,
    Capacity,
    Certified,
    CertifiedByClass,
    CertifiedPair,
    Classes,
    Look,
    PairRows,
    Refusal,
    Tolerance,
    certify_pair,
    count_look,
)
from demur.policies.keeping import Keeping, LabelledScores, judged, parts_of
from demur.policies.policy import Flags, Floats
from demur.registry import build

_CHUNK = 1024


@dataclass(frozen=True, kw_only=True)
class Recertification:
    """What new labels say of a guard.

    Attributes:
        images: labelled images that had no part in the guard.
        excluded: images that were left out because it was built on them.
        copies: images that were left out because the pixels of another are the same, so that they say nothing new.
        unit: what counts as independent: an image, or one image of a group.
        answers: units answered.
        wrong: of these wrong.
        risk: their share of what the certificate counts (answers; by class all images), with its exact 95 % interval.
        stands: whether the old certificate still holds here; None where too few were answered to judge.
        answer: the certificate that these labels give by themselves, or why they give none.
        out: the guard that was written with it; None where none was.
        sha256: the hash of that guard's list of files.
    """

    images: int
    excluded: int
    copies: int
    unit: str
    answers: int
    wrong: int
    risk: Estimate
    stands: Keeping | None
    answer: AnyCertificate | Refusal
    out: Path | None = None
    sha256: str | None = None


def recertify(
    folder: Path,
    data: Source | str,
    *,
    out: Path | None = None,
    source_name: str | None = None,
    expires: str | None = None,
) -> Recertification:
    """Try a guard on new labels and certify it again; the look is counted in the guard's ledger before a label counts.

    The threshold of the old certificate is counted as it stands. Thresholds of a new one are placed by the tune scores
    that the guard keeps, so that all new labels certify; it holds for images like these.

    Args:
        folder: the guard.
        data: labelled images, or their address; those the guard was built on are left out.
        out: where a guard with the new certificate is written; by default none is.
        source_name: what the user calls the place the images come from: tests on other images of it are later looks.
        expires: the last day on which the new guard answers.

    Raises:
        InputError: no guard, or one with a threshold for each site, which is fitted again instead.
        DataError: other classes or shape, or no labelled image that is new.
    """
    guard = read_guard(folder)
    policy = _certifier(guard, folder)
    if out is not None:
        check_place(out)
        check_ahead(expires)
    source = open_data_by(guard.intake.rules, data) if isinstance(data, str) else data
    source = under_classes(source, guard.classifier.classes, "the guard")
    trial = _trial(folder, guard, source)
    look = count_look(folder / LEDGER, trial.inquiry(source_name), guard.card.statement)
    parts = parts_of(guard.policy, trial.labelled)
    answers, errors, of = (sum(getattr(part, name) for part in parts) for name in ("answers", "errors", "of"))
    found = Recertification(
        images=len(trial.wrong),
        excluded=trial.index.excluded,
        copies=len(trial.index.readable) - len(trial.rows),
        unit="image" if trial.groups is None else "group",
        answers=answers,
        wrong=errors,
        risk=clopper_pearson(errors, of),
        stands=judged(parts),
        answer=trial.certificate(policy, look),
    )
    if out is None or isinstance(found.answer, Refusal):
        return found
    return replace(found, out=out, sha256=trial.write(out, source, found.answer, expires))


def _certifier(guard: Guard, folder: Path) -> Certified | CertifiedByClass | Capacity:
    text = guard.card.statement
    policy = build("policy", text)
    if not isinstance(policy, Certified | CertifiedByClass | Capacity):
        raise InputError(
            f"the guard in {folder} keeps {text!r}, which is certified again by fitting a guard on the new images only."
        )
    return policy


def _trial(folder: Path, guard: Guard, source: Source) -> "_Trial":
    """A guard and its decisions about the labelled images that are new to it."""
    if source.classes != guard.classifier.classes or source.input_shape != guard.classifier.input_shape:
        raise DataError(
            f"{source.address} has the classes {', '.join(source.classes)[:80]} and images of {source.input_shape}; "
            f"the guard has {', '.join(guard.classifier.classes)[:80]} and reads {guard.classifier.input_shape}. Name "
            "images that it is made for."
        )
    built_on = read_built_on(folder)
    index = build_index(source, exclude=guard.classifier.learned_from | built_on.every, held_out=True)
    rows = _distinct(index)
    if not len(rows):
        raise DataError(f"{source.address} has no readable image that is new to this guard. Bring new labels.")
    parts = list(_decisions(source, guard, index.positions[rows]))
    return _Trial(
        folder=folder,
        guard=guard,
        built_on=built_on,
        index=index,
        rows=rows,
        scores={name: np.concatenate([part.scores[name] for part in parts]) for name in guard.signals},
        wrong=np.concatenate([part.predicted for part in parts]) != index.labels[rows],
    )


def _distinct(index: Index) -> NDArray[np.int64]:
    """The readable rows, of those with the same pixels the first alone."""
    readable = index.readable
    return readable[~np.isin(readable, further_copies(index.contents, range(len(index)), readable))]


def _decisions(source: Source, guard: Guard, positions: NDArray[np.int64]) -> Iterator[Decisions]:
    for start in range(0, len(positions), _CHUNK):
        part = positions[start : start + _CHUNK].tolist()
        yield guard(torch.stack([_image(row) for row in source.read(part)]).clamp(0, 1))


def _image(row: Row) -> Tensor:
    if row.image is None:
        raise DataError(f"image {row.sample_id!r} could be read a moment ago and cannot be read now. Bring it back.")
    return row.image


@dataclass(frozen=True, kw_only=True, eq=False)
class _Trial:
    """A guard on labelled images that are new to it; scores and flags run over some `rows` of the index."""

    folder: Path
    guard: Guard
    built_on: BuiltOn
    index: Index
    rows: NDArray[np.int64]
    scores: Mapping[str, Floats]
    wrong: Flags

    @property
    def labels(self) -> NDArray[np.int64]:
        return self.index.labels[self.rows]

    @property
    def ids(self) -> list[str]:
        return [self.index.sample_ids[row] for row in self.rows]

    @property
    def groups(self) -> NDArray[np.str_] | None:
        """The unit of independence of each row, its own id where it has no group; None where no row has one."""
        if self.index.group_count is None:
            return None
        return np.array([self.index.groups[row] or f"image {self.index.sample_ids[row]}" for row in self.rows])

    @property
    def labelled(self) -> LabelledScores:
        """The rows as the old certificate is counted on them."""
        return LabelledScores(
            scores=self.scores, wrong=self.wrong, labels=self.labels, groups=self.groups, ids=self.ids
        )

    def inquiry(self, source_name: str | None) -> Inquiry:
        """All that makes a look at these labels."""
        placing = hashlib.sha256(self.built_on.wrong.tobytes())
        for name in self.guard.policy.signals:
            placing.update(self.built_on.scores[name].tobytes())
        contents = [self.index.contents[row] for row in self.rows]
        return Inquiry(
            rows=LabelledRows.of(contents, self.labels.tolist(), None if self.groups is None else self.groups.tolist()),
            model=self.guard.sha256,
            menu=self.guard.policy.signals,
            procedure=hashlib.sha256(json.dumps([PROCEDURE, placing.hexdigest()]).encode()).hexdigest(),
            source=source_name,
        )

    def certificate(self, policy: Certified | CertifiedByClass | Capacity, look: Look) -> AnyCertificate | Refusal:
        """The certificate that these labels give, its thresholds placed by the tune scores of the guard."""
        name = self.guard.policy.signals[0]
        tolerance = self.guard.tolerances.get(name, Tolerance())
        tune = Calibration(self.built_on.scores[name], self.built_on.wrong, tolerance=tolerance)
        finite = np.nan_to_num(self.scores[name], nan=np.inf, posinf=np.inf, neginf=-np.inf)  # NaN is never answered
        rows = Calibration(finite, self.wrong, self.groups, self.ids, tolerance)
        if isinstance(policy, CertifiedByClass):
            return policy.fit(tune, rows, Classes(self.guard.classifier.classes, self.labels), look)
        if not isinstance(self.guard.policy, CertifiedPair):
            return policy.fit(tune, rows, look)
        second = self.guard.policy.second
        pairs = (PairRows(tune, self.built_on.scores[second.signal]), PairRows(rows, self.scores[second.signal]))
        return certify_pair(policy, second, *pairs, look)

    def write(self, out: Path, source: Source, answer: AnyCertificate, expires: str | None) -> str:
        """Write a guard with a new certificate; model, golden images and looks of the old one come along."""
        place = model_place(guard_facts(self.folder)["model"])
        new = replace(self.guard, policy=answer.on(self.guard.policy.signals[0]), card=self._card(source, expires))
        contents = (self.index.contents[row] for row in self.rows)
        certify = tuple(dict.fromkeys((*self.built_on.contents["certify"], *contents)))
        pictures, sites = read_pictures(self.folder)
        return write_guard(
            out,
            new,
            built_on=replace(self.built_on, contents={**self.built_on.contents, "certify": certify}),
            model=lambda made: copy_model(self.folder, made, place),
            looks=lambda ledger: _copy(Ledger(self.folder / LEDGER), ledger),
            golden=lambda made: write_golden(made, new, pictures, sites),
        )

    def _card(self, source: Source, expires: str | None) -> Card:
        classes = self.guard.classifier.classes
        return replace(
            self.guard.card,
            data=source.address,
            data_sha256=self.index.sha256,
            demur=version("demur"),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            rows={**self.guard.card.rows, "certify": len(self.wrong)},
            class_mix=dict(zip(classes, np.bincount(self.labels, minlength=len(classes)).tolist(), strict=True)),
            confirmation=None,
            expires=expires,
        )


def _copy(before: Ledger, after: Ledger) -> None:
    for line in before.lines():
        ids = before.ids(line["rows"])
        after.add(line, None if ids is None else LabelledRows(ids, ""))
