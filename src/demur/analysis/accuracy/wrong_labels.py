"""How many labels may be wrong, and which: an estimate by the audited model, which no other number follows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from demur.analysis.quantity import Number, Quantity, Table
from demur.analysis.run_folder import Run, share
from demur.metrics.confident_learning import confident_joint
from demur.metrics.label_noise import LEAST, LabelNoise
from demur.records import SECOND

_PAIRS = 10


class SuspectImage(Table):
    """An image whose label is likely to be wrong; `second_label` is what a second labeller said of it."""

    sample_id: str
    label: str
    suggestion: str
    second_label: str | None
    thumb: str | None


class LabelPair(Table):
    """How many images of a label the model is confident are of another class."""

    label: str
    suggestion: str
    n: int


class CorrectedError(Table):
    """The error rate on images that were labelled twice, if the second labeller may be right.

    `lowest` counts answers that are neither label, `highest` those that are not both of them; the truth lies between
    as long as one of the two labels is right.
    """

    n: int
    error: Quantity
    lowest: Quantity
    highest: Quantity
    suspects: int
    confirmations: int


class WrongLabels(Table):
    """The estimate of wrong labels, and whether it can be told from the model's own errors.

    `share` is the estimate where `evidence` is true; where it is false only its high end means anything: no more labels
    than that are wrong at random. `sure`, `far` and `fit` are what it rests on. `confident` is the share by confident
    learning, which takes every confident error of the model for a wrong label.
    """

    evidence: bool
    share: Quantity
    sure: Quantity
    far: Quantity
    fit: Number
    errors: Number
    confident: Number
    pairs: tuple[LabelPair, ...]
    images: tuple[SuspectImage, ...]
    corrected: CorrectedError | None
    sentence: str


def wrong_labels(run: Run) -> WrongLabels | None:
    """The estimate and the likeliest images; None where no image was answered, or no logits were kept."""
    rows = run.rows("clean")
    if rows.is_empty() or not run.has_logits:
        return None
    found, labels = run.label_noise, rows["label"].to_numpy()
    joint = confident_joint(run.logits, labels)
    return WrongLabels(
        evidence=found.evidence,
        share=Quantity.of(found.share),
        sure=Quantity.of(found.sure),
        far=Quantity.of(found.far),
        fit=found.fit,
        errors=found.errors,
        confident=joint.share,
        pairs=_pairs(joint.counts, run.classes),
        images=_images(run, rows),
        corrected=_corrected(rows, joint.confident),
        sentence=_sentence(found),
    )


def _pairs(counts: Any, classes: tuple[str, ...]) -> tuple[LabelPair, ...]:
    apart = np.where(np.eye(len(classes), dtype=bool), 0, counts)
    order = np.argsort(-apart, axis=None, kind="stable")[:_PAIRS]
    places = zip(*np.unravel_index(order, apart.shape), strict=True)
    return tuple(
        LabelPair(label=classes[one], suggestion=classes[other], n=int(apart[one, other]))
        for one, other in places
        if apart[one, other]
    )


def _images(run: Run, rows: pl.DataFrame) -> tuple[SuspectImage, ...]:
    """Those the audit kept pictures of, as far as the model answered them under every condition."""
    place = {name: number for number, name in enumerate(rows["sample_id"])}
    second = _names(rows[SECOND].to_list() if SECOND in rows.columns else [None] * len(rows), run.classes)
    return tuple(
        SuspectImage(
            sample_id=entry["sample_id"],
            label=run.classes[rows["label"][at]],
            suggestion=run.classes[entry["suggestion"]],
            second_label=second[at],
            thumb=run.thumb(f"label-{number}.webp"),
        )
        for number, entry in enumerate(run.optional_facts("suspects") or ())
        if (at := place.get(entry["sample_id"])) is not None and entry["suggestion"] < len(run.classes)
    )


def _names(labels: Sequence[int | None], classes: tuple[str, ...]) -> list[str | None]:
    return [None if label is None else classes[label] for label in labels]


def _corrected(rows: pl.DataFrame, confident: Any) -> CorrectedError | None:
    """What a second labeller makes of the error rate; None where no image was labelled twice."""
    if SECOND not in rows.columns or rows[SECOND].null_count() == len(rows):
        return None
    twice = rows.with_columns(pl.Series("confident", confident)).filter(pl.col(SECOND).is_not_null())
    answers, first, second = (twice[name].to_numpy() for name in ("predicted", "label", SECOND))
    against = twice["confident"].to_numpy()
    suspicious = (against >= 0) & (against != first)
    return CorrectedError(
        n=len(twice),
        error=share(answers != first, twice),
        lowest=share((answers != first) & (answers != second), twice),
        highest=share((answers != first) | (answers != second), twice),
        suspects=int(suspicious.sum()),
        confirmations=int((suspicious & (second == against)).sum()),
    )


def _sentence(found: LabelNoise) -> str:
    share = found.share
    if share.reason:
        return f"Wrong labels {share.reason} from the model's own errors."
    if found.evidence:
        return (
            f"About {share.value:.1%} of the labels look wrong ({share.low:.1%} to {share.high:.1%}): even the surest "
            "answers disagree with them, and they name classes that the model finds unlikely."
        )
    if share.low > LEAST:
        return (
            "Many sure answers disagree with their labels, and whether labels or model are wrong cannot be told from "
            "the model's answers."
        )
    return f"Nothing says that labels are wrong at random; at most {share.high:.1%} of them are."
