"""A guard on new labels: whether its certificate still stands, and the certificate that these labels give."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from demur.data import Index, Source, build_index, open_data
from demur.errors import DataError, InputError
from demur.guard.card import BuiltOn
from demur.guard.decisions import Decisions
from demur.guard.file_list import LEDGER
from demur.guard.golden_vectors import read_pictures, write_golden
from demur.guard.guard import Guard
from demur.guard.guard_folder import check_place, guard_facts, model_place, read_built_on, read_guard, write_guard
from demur.guard.model_files import copy_model
from demur.ledger import Inquiry, LabelledRows, Ledger
from demur.metrics import Estimate
from demur.metrics.binomial import clopper_pearson
from demur.policies import (
    PROCEDURE,
    AnyCertificate,
    Calibration,
    Capacity,
    Certified,
    CertifiedByClass,
    Certifier,
    Classes,
    Look,
    Refusal,
    Tolerance,
    count_look,
)
from demur.policies.keeping import Keeping, LabelledScores, judged, parts_of
from demur.registry import build

_CHUNK = 1024


@dataclass(frozen=True, kw_only=True)
class Recertification:
    """What new labels say of a guard.

    Attributes:
        images: labelled images that had no part in the guard.
        excluded: images that were left out because it was built on them.
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
    guard, built_on = read_guard(folder), read_built_on(folder)
    policy = _certifier(guard, folder)
    if out is not None:
        check_place(out)
    source = open_data(data) if isinstance(data, str) else data
    index = _index(source, guard, built_on)
    decisions = _decisions(source, guard, index)
    tolerance = guard.tolerances.get(guard.policy.signals[0], Tolerance())
    rows = _calibration(index, decisions, guard, tolerance)
    look = count_look(folder / LEDGER, _inquiry(index, guard, built_on, source_name), guard.card.statement)
    parts = parts_of(guard.policy, _labelled(index, decisions, rows))
    answers, errors, of = (sum(getattr(part, name) for part in parts) for name in ("answers", "errors", "of"))
    found = Recertification(
        images=len(rows),
        excluded=index.excluded,
        unit=rows.unit,
        answers=answers,
        wrong=errors,
        risk=clopper_pearson(errors, of),
        stands=judged(parts),
        answer=_certificate(policy, built_on, rows, index, guard, look, tolerance),
    )
    if out is None or isinstance(found.answer, Refusal):
        return found
    return replace(found, out=out, sha256=_write(folder, out, guard, built_on, index, source, found.answer, expires))


def _certifier(guard: Guard, folder: Path) -> Certifier:
    text = guard.card.statement
    policy = build("policy", text)
    if not isinstance(policy, Certified | CertifiedByClass | Capacity):
        raise InputError(
            f"the guard in {folder} keeps {text!r}, which is certified again by fitting a guard on the new images only."
        )
    return policy


def _index(source: Source, guard: Guard, built_on: BuiltOn) -> Index:
    if source.classes != guard.classifier.classes or source.input_shape != guard.classifier.input_shape:
        raise DataError(
            f"{source.address} has the classes {', '.join(source.classes)[:80]} and images of {source.input_shape}; "
            f"the guard has {', '.join(guard.classifier.classes)[:80]} and reads {guard.classifier.input_shape}. Name "
            "images that it is made for."
        )
    exclude = guard.classifier.learned_from | built_on.every
    index = build_index(source, exclude=exclude, held_out=True)
    if not len(index.readable):
        raise DataError(f"{source.address} has no readable image that is new to this guard. Bring new labels.")
    return index


def _decisions(source: Source, guard: Guard, index: Index) -> Decisions:
    """What the guard decides about the readable rows of an index, in their order."""
    parts = list(_parts(source, guard, index))
    return Decisions(
        classes=guard.classifier.classes,
        predicted=np.concatenate([part.predicted for part in parts]),
        confidence=np.concatenate([part.confidence for part in parts]),
        scores={name: np.concatenate([part.scores[name] for part in parts]) for name in guard.signals},
        accepted=np.concatenate([part.accepted for part in parts]),
        reasons=np.concatenate([part.reasons for part in parts]),
        distances={},
        near=np.concatenate([part.near for part in parts]),
        details=("",) * sum(map(len, parts)),
    )


def _parts(source: Source, guard: Guard, index: Index) -> Iterator[Decisions]:
    import torch

    readable = index.readable
    for start in range(0, len(readable), _CHUNK):
        positions = index.positions[readable[start : start + _CHUNK]].tolist()
        images = [row.image for row in source.read(positions)]
        yield guard(torch.stack([image for image in images if image is not None]).clamp(0, 1))


def _calibration(index: Index, decisions: Decisions, guard: Guard, tolerance: Tolerance) -> Calibration:
    """The new rows as what tests thresholds; a row without a score is never answered."""
    readable = index.readable
    scores = np.nan_to_num(decisions.scores[guard.policy.signals[0]], nan=np.inf, posinf=np.inf, neginf=-np.inf)
    ids = [index.sample_ids[row] for row in readable]
    return Calibration(scores, decisions.predicted != index.labels[readable], _groups(index, readable), ids, tolerance)


def _groups(index: Index, rows: NDArray[np.int64]) -> NDArray[np.str_] | None:
    """The unit of independence of each row, its own id where it has no group; None where no row has one."""
    if index.group_count is None:
        return None
    return np.array([index.groups[row] or f"image {index.sample_ids[row]}" for row in rows])


def _inquiry(index: Index, guard: Guard, built_on: BuiltOn, source_name: str | None) -> Inquiry:
    placing = hashlib.sha256(built_on.scores.tobytes() + built_on.wrong.tobytes()).hexdigest()
    readable = index.readable
    return Inquiry(
        rows=LabelledRows.of(
            [index.contents[row] for row in readable],
            [int(index.labels[row]) for row in readable],
            [index.groups[row] for row in readable],
        ),
        model=guard.sha256,
        menu=guard.policy.signals,
        procedure=hashlib.sha256(json.dumps([PROCEDURE, placing]).encode()).hexdigest(),
        source=source_name,
    )


def _labelled(index: Index, decisions: Decisions, rows: Calibration) -> LabelledScores:
    """The new rows as the old certificate is counted on them."""
    return LabelledScores(
        scores=decisions.scores,
        wrong=rows.wrong,
        labels=index.labels[index.readable],
        groups=None if rows.groups is None else np.asarray(rows.groups),
        ids=rows.ids,
    )


def _certificate(
    policy: Certifier,
    built_on: BuiltOn,
    rows: Calibration,
    index: Index,
    guard: Guard,
    look: Look,
    tolerance: Tolerance,
) -> AnyCertificate | Refusal:
    """The certificate that new labels give, its thresholds placed by the tune scores of the guard."""
    tune = Calibration(built_on.scores, built_on.wrong, tolerance=tolerance)
    match policy:
        case CertifiedByClass():
            classes = Classes(guard.classifier.classes, index.labels[index.readable])
            return policy.fit(tune, rows, classes, look)
        case Certified() | Capacity():
            return policy.fit(tune, rows, look)
        case _:
            raise AssertionError("sites were refused")


def _write(
    folder: Path,
    out: Path,
    guard: Guard,
    built_on: BuiltOn,
    index: Index,
    source: Source,
    answer: AnyCertificate,
    expires: str | None,
) -> str:
    """A guard with the new certificate; images and looks of the old one come along."""
    place = model_place(guard_facts(folder)["model"])
    readable = index.readable
    mix = np.bincount(index.labels[readable], minlength=len(guard.classifier.classes))
    card = replace(
        guard.card,
        data=source.address,
        data_sha256=index.sha256,
        demur=version("demur"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        rows={**guard.card.rows, "certify": len(readable)},
        class_mix=dict(zip(guard.classifier.classes, mix.tolist(), strict=True)),
        confirmation=None,
        expires=expires,
    )
    new = replace(guard, policy=answer.on(guard.policy.signals[0]), card=card)
    certify = tuple(dict.fromkeys((*built_on.contents["certify"], *(index.contents[row] for row in readable))))
    pictures, sites = read_pictures(folder)
    return write_guard(
        out,
        new,
        built_on=replace(built_on, contents={**built_on.contents, "certify": certify}),
        model=lambda made: copy_model(folder, made, place),
        looks=lambda ledger: _copy(Ledger(folder / LEDGER), ledger),
        golden=lambda made: write_golden(made, new, pictures, sites),
    )


def _copy(before: Ledger, after: Ledger) -> None:
    for line in before.lines():
        ids = before.ids(line["rows"])
        after.add(line, None if ids is None else LabelledRows(ids, ""))
