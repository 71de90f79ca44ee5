"""What is checked of model, data and maps before anything is measured, and what goes into the report of it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from demur.attacks.core.objective import Objective
from demur.attribution import AttributionMap
from demur.attribution.grad_cam import GradCAM
from demur.attribution.layer_choice import IMAGES, LayerChoice
from demur.attribution.target_layers import last_grid
from demur.attribution.weight_randomisation import with_random_weights
from demur.classifier import BoundClassifier, check_labels
from demur.classifier.first_answer import reason_of
from demur.errors import DataError, InputError, ModelError
from demur.pipeline.halving import without_failures
from demur.pipeline.job import IndexRows, Job
from demur.pipeline.plan.conditions import Condition, check_target_class
from demur.pipeline.sanity.preprocessing_remedy import preprocessing_remedy
from demur.randomness import Keys
from demur.registry.tables import MARKED
from demur.shapes import Labels

_PROBED = 512

_SAME = 1e-6
"""Share of the largest logit by which outputs for the very same images may differ: rounding in another order."""


@dataclass(frozen=True)
class PreflightCheck:
    """One check of the measurement: pass, warn or fail, and how many of how many."""

    name: str
    state: str
    sentence: str
    count: int | None = None
    of: int | None = None


def preflight_checks(job: Job) -> list[dict[str, Any]]:
    """Refuse a model or data that cannot be measured; say what was found of the rest.

    Raises:
        ModelError, DataError: the contract is broken, or the labels are not the model's.
    """
    _fit(job)
    return without_failures(job, _probe(job), _checks, _silent)


def _silent(_why: str, _lost: Mapping[int, str]) -> None:
    """Rows on which the model fails are told of where they are measured."""


def _checks(job: Job, rows: IndexRows) -> list[dict[str, Any]]:
    x, y = job.load(rows)
    job.classifier.check(x)
    with torch.no_grad():
        together = job.classifier.logits(x)
        again = job.classifier.logits(x)
        alone = torch.cat([job.classifier.logits(x[i : i + 1]) for i in range(min(32, len(x)))])
    if not torch.isfinite(together).all():
        raise ModelError(
            "the model's outputs must be finite; some of the first images gave NaN or infinity. Check the weights."
        )
    _check_labels(job, together.argmax(dim=1).cpu(), y.cpu())
    answers = (_repeats(together, again), _alone(together[: len(alone)], alone))
    return [asdict(answer) for answer in (*answers, *_left_out(job), *_origin(job))]


def _origin(job: Job) -> Iterator[PreflightCheck]:
    """How the model came to be what is measured, where there is anything to say."""
    said = "; ".join(job.classifier.notes)
    if said:
        yield PreflightCheck("origin of the model", "pass", f"{said[:1].upper()}{said[1:]}")


def _check_labels(job: Job, predicted: Labels, labels: Labels) -> None:
    """Refuse labels that are not the model's; where another preprocessing would make them so, say which."""
    try:
        check_labels(predicted, labels, job.classifier.classes, trust_labels=job.plan.model.trust_labels)
    except DataError as error:
        remedy = preprocessing_remedy(job)
        if not remedy:
            raise
        raise DataError(f"{error} {remedy}") from None


def _left_out(job: Job) -> Iterator[PreflightCheck]:
    """What an audit does without, for what the model does not bear."""
    model = job.classifier
    attacked = any(condition.attack is not None for condition in job.conditions)
    if model.gradient_fault:
        sentence = (
            "Not known: how the model stands against an attacker who has it, its maps and its norms. All of these "
            "follow gradients, and its answers have"
        )
        yield PreflightCheck("gradients", "warn", f"{sentence} {model.gradient_fault}")
    if attacked and model.double_fault:
        sentence = "Attacks that succeed by little are confirmed in the model's own precision; in float64 it fails"
        yield PreflightCheck("confirmed in float64", "warn", f"{sentence}: {model.double_fault}")
    if model.scripted and not has_maps(model):
        sentence = "Grad-CAM and norms of layers are left out: torch.jit.script and torch.jit.trace hide layers"
        yield PreflightCheck("layers", "warn", sentence)


def _probe(job: Job) -> IndexRows:
    readable = job.index.readable
    spread = np.linspace(0, len(readable) - 1, min(_PROBED, len(readable))).astype(np.int64)
    return readable[np.unique(spread)]


def _fit(job: Job) -> None:
    model, data = job.classifier, job.source
    if tuple(model.input_shape) != tuple(data.input_shape):
        raise DataError(
            f"the model reads images of (channels, height, width) = {tuple(model.input_shape)} and {data.address} has "
            f"{tuple(data.input_shape)}. Name data of the model's shape, or the model that belongs to this data."
        )
    if len(model.classes) != len(data.classes):
        raise DataError(
            f"the model has {len(model.classes)} classes and {data.address} has {len(data.classes)}. "
            "Name data with the model's classes, or the model that belongs to this data."
        )
    if model.classes != data.classes and set(model.classes) == set(data.classes):
        k = next(k for k, pair in enumerate(zip(model.classes, data.classes, strict=True)) if len(set(pair)) == 2)
        raise DataError(
            f"the model and {data.address} must order their classes alike; class {k} is {model.classes[k]!r} to the "
            f"model and {data.classes[k]!r} to the data. Correct whichever is wrong, such as "
            f"?classes={','.join(model.classes)}."
        )


def _repeats(together: torch.Tensor, again: torch.Tensor) -> PreflightCheck:
    """Decisions that differ are a fault, and so is more than rounding; rounding is said."""
    drift = float((together - again).abs().max() / together.abs().max().clamp(min=torch.finfo(together.dtype).tiny))
    decided = int((together.argmax(dim=1) != again.argmax(dim=1)).sum())
    moved = decided if drift <= _SAME else int((together != again).any(dim=1).sum())
    said = "differ" if moved else "are the same" if not drift else f"are repeatable to {drift:.1g} of the largest"
    sentence = f"Asked twice about the same images, the model's outputs {said}"
    return PreflightCheck("deterministic", "fail" if moved else "pass", sentence, moved, len(together))


def _alone(together: torch.Tensor, alone: torch.Tensor) -> PreflightCheck:
    moved = int((together.argmax(dim=1) != alone.argmax(dim=1)).sum())
    drift = float((together - alone).abs().max())
    state = "fail" if moved else "warn" if drift > 1e-3 else "pass"
    said = f"An image gets the same answer alone as in a batch (logits differ by at most {drift:.1g})"
    return PreflightCheck(
        "alone or in a batch",
        state,
        said
        if not moved
        else f"An image alone is answered otherwise than in a batch (logits differ by up to {drift:.1g})",
        moved,
        len(alone),
    )


_TRIED = 2
_SEARCHED = 256


def has_maps(classifier: BoundClassifier) -> bool:
    """Whether the model has a layer with a grid of more than one cell, which Grad-CAM needs."""
    try:
        last_grid(classifier)
    except ModelError:
        return False
    return True


def try_attacks(conditions: Iterable[Condition], classifier: BoundClassifier) -> None:
    """Look up every target and try what can be tried of every attack: better an error now than after an hour.

    Raises:
        InputError: a class, a package, an attack, a function or a setting that is not there.
    """
    objective = Objective(classifier)
    for condition in conditions:
        if condition.target is not None:
            check_target_class(condition.target, classifier.classes)
        if condition.attack is not None:
            condition.attack.check(objective)


def try_maps(job: Job) -> None:
    """Refuse maps that this model cannot give, and regions that the data do not mark, before anything is measured.

    Raises:
        ModelError: the model lacks the layer a map is of.
        InputError: `marked`, of data without boxes or masks.
    """
    follows = bool(job.plan.lipschitz.images) or any(each.gradients for each in job.maps.values())
    fault = job.classifier.gradient_fault if follows else ""
    if fault:
        raise ModelError(
            f"maps and norms follow gradients with respect to the images; the answers of {job.classifier.name} have "
            f"{fault}; or leave both out: --set attribution.maps=[] --set lipschitz.images=0."
        )
    for each in job.maps.values():
        _try(job.classifier, each)
    if any(condition.map for condition in job.sections):
        _try_random_weights(job.classifier)
    readable = job.index.readable[:_SEARCHED]
    regions = {condition.region for condition in job.conditions}
    if MARKED in regions and not job.marks(readable)[1].any():
        raise InputError(
            f"[attribution] asks for the region {MARKED!r}, and none of the first {len(readable)} images of "
            f"{job.source.address} has a box or a mask. Name a map such as grad_cam instead, or say where the marks "
            "are: ?masks=FOLDER or ?boxes=FOLDER."
        )


def with_map_layers(job: Job) -> Job:
    """The job whose Grad-CAM has its layer by name, where the plan left it open, and says which it is and why.

    It is a function of plan, model and images alone: every process and every restart of the run has the same.

    Raises:
        ModelError: the model fails on most of the images that are tried.
    """
    free = {name for name, each in job.maps.items() if isinstance(each, GradCAM) and not each.layer}
    if not free:
        return job
    choice = without_failures(job, job.first_rows(IMAGES), _layer_choice, _silent)
    found = GradCAM(layer=choice.layer)
    conditions = tuple(
        replace(each, map=found, sentence=choice.sentence) if each.map is not None and each.name in free else each
        for each in job.conditions
    )
    return replace(job, conditions=conditions, maps={**job.maps, **dict.fromkeys(free, found)})


def _layer_choice(job: Job, rows: IndexRows) -> LayerChoice:
    x, _ = job.load(rows)
    with torch.no_grad():
        answers = torch.cat([job.classifier.logits(part) for part in torch.split(x, job.plan.batch)]).argmax(dim=1)
    return LayerChoice.of(job.classifier, x, answers, job.keys(rows, "grad_cam"), job.plan.batch)


def _try(classifier: BoundClassifier, found: AttributionMap) -> None:
    x = torch.full((_TRIED, *classifier.input_shape), 0.5, device=classifier.device)
    y = torch.zeros(_TRIED, dtype=torch.long, device=classifier.device)
    found(classifier, x, y, Keys.of(0, [str(k) for k in range(_TRIED)], "door"))


def _try_random_weights(classifier: BoundClassifier) -> None:
    """Maps are compared with those of the same model with made-up weights, which must be possible."""
    try:
        with_random_weights(classifier)
    except Exception as error:  # foreign code may raise anything
        raise ModelError(
            f"maps are compared with those of {classifier.name} with made-up weights, which failed: "
            f"{reason_of(error)}. Leave maps out: --set attribution.maps=[]."
        ) from error
