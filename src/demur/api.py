"""The same from Python: `demur.audit`, for those who have a model and images at hand."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn

from demur.analysis import Results, write_results
from demur.classifier import AnyClassifier, BoundClassifier, Classifier
from demur.containment import contained, same_draws
from demur.data import Source, from_given, open_data
from demur.data.memory import TensorSource, unlabelled
from demur.data.memory_items import is_numbered
from demur.data.memory_sets import DatasetSource, SpooledSource, names_of
from demur.errors import InputError, ModelError
from demur.foreign import blamed
from demur.guard import Guard
from demur.guard.model_files import Embedding
from demur.pipeline.guard.guard_of_run import GOLDEN, GuardChoices, guard_of_run
from demur.pipeline.plan.plan_file import Plan, read_plan
from demur.pipeline.run.loop import run_plan
from demur.pipeline.run.prepare import StandIns
from demur.pipeline.run.resources import Resources
from demur.registry import SHIPPED
from demur.remote import working_folder
from demur.report import write

Say: TypeAlias = Callable[[str], None]


@dataclass(frozen=True)
class SpokenProgress:
    """The progress of an audit as sentences."""

    say: Say

    def start(self, rows: int) -> None:
        """Sentences have no total."""

    def advance(self, rows: int, what: str, left: float | None = None) -> None:  # noqa: ARG002 - no total
        """Tell what is being measured."""
        self.say(what)


def audit(
    model: AnyClassifier | nn.Module | str | None = None,
    data: object = None,
    *,
    out: Path | str | None = None,
    plan: Plan | Mapping[str, Any] | Path | str | None = None,
    risk: float | None = None,
    coverage: float | None = None,
    attack_signal: str | None = None,
    device: str | None = None,
    unknown: object = None,
    guard: Path | str | None = None,
    workers: int | None = None,
    threads: int | None = None,
    index: Path | str | None = None,
    say: Say | None = None,
) -> Results:
    """Audit a classifier on labelled held-out images, and return what was found.

    The run folder `out` then has the records, `results.json` and `report.html` (`results.open()` shows it); the same
    call again continues an interrupted audit, and a finished one measures nothing twice.

    Args:
        model: an `nn.Module` in evaluation mode that reads images in [0, 1], a `demur.Classifier` (which normalises)
            or an address such as `"zoo:resnet20@w.safetensors"`; by default what the plan names.
        data: images and labels in a pair of tensors or arrays, a data set, a data loader, a source, or an address such
            as `"parquet:test.parquet"`; by default what the plan names. Images the model was trained on make every
            number worthless; those its `learned_from` names are left out.
        out: the run folder, here or at an address such as `s3://bucket/run`, made if it is not there; by default
            `runs/<model>-<data>-<plan>`.
        plan: a plan, the path of a TOML one, or the keys that differ from the defaults, such as
            `{"data.limit": 2000, "conditions.use": ["pgd(eps=[1/255, 2/255])"]}`.
        risk: the largest tolerable share of wrong answers, such as 0.02; by default what the plan says.
        coverage: the share of images to answer, such as 0.85, instead of a risk; what can be shown of the risk of these
            answers is then worked out.
        attack_signal: a signal such as `"knn"`; the answer is withheld also where it is high, by a threshold that the
            tune rows fix, and the guarantee is of both thresholds.
        device: where the model runs, such as `"cuda"`; by default where it is.
        unknown: images of none of the classes, in a tensor or array, or as `data` may be given; labels are ignored. How
            many of them are answered stands in the results.
        guard: a folder with a guard of this model, whose policy is then audited; images it was built on are left out.
        workers: processes that measure. By default as many as there are cores where model and data are addresses and
            that is faster; objects in memory are measured by this process alone.
        threads: threads of the model in each process; by default one, for objects in memory what torch uses.
        index: a folder that `demur index` made of the same images, which are then not decoded to know them.
        say: called with a sentence whenever something else is being measured; by default nothing is said.

    Raises:
        InputError: something given cannot be used, and nothing was measured.
        ForeignError: code of the model, the data or a plug-in failed, whatever it raised; the same call continues.
        RunError: the folder belongs to another run.
        FaultError: an unexpected fault; its traceback is in `log.jsonl` of the run.
    """
    with blamed(), contained(), same_draws():
        named, others = _named(model, data, _read(plan, shipped=_is_shipped(model, data)), device, unknown)
        named = named if guard is None else named.with_guard(Path(guard))
        resources = Resources(workers=workers, threads=threads, index=None if index is None else Path(index))
        return _audited(_aimed(named, risk, coverage, attack_signal), out, others, say or _silent, resources)


def fit_guard(
    model: AnyClassifier | nn.Module | str | None = None,
    data: object = None,
    *,
    out: Path | str,
    run: Path | str | None = None,
    plan: Plan | Mapping[str, Any] | Path | str | None = None,
    risk: float | None = None,
    coverage: float | None = None,
    signal: str = "auto",
    attack_signal: str | None = None,
    embed: Embedding | None = None,
    expires: str | None = None,
    golden: int = GOLDEN,
    device: str | None = None,
    say: Say | None = None,
) -> Guard:
    """Fit a guard on labelled held-out images: a classifier that answers or abstains, with a certificate.

    The clean images alone are measured, in a run folder under `runs/`, where looks at the same labels are counted; it
    continues where it was interrupted and has the report. With `run`, the certificate of a finished audit is taken as
    it stands.

    Args:
        model: as for `audit`; with `run`, the model of that run where it was an object in memory.
        data: as for `audit`; with `run`, the images of that run where they were.
        out: the folder of the guard.
        run: a finished run folder that issued a certificate; `out` is a folder here.
        plan: as for `audit`; without one, signals of one forward pass and no attacks.
        risk: the largest tolerable share of wrong answers, by default .02.
        coverage: the share of images to answer, instead of a risk.
        signal: the signal of the threshold, named beforehand; "auto" chooses one on tune images.
        attack_signal: as for `audit`.
        embed: "weights" or "program" to put the model into the folder; by default a program where the model is an
            object in memory, else nothing: the model is loaded from its address.
        expires: the last day on which the guard answers, such as "2027-06-30".
        golden: how many images are kept with their decisions, so that another machine can be checked.
        device: where the model runs.
        say: called with a sentence whenever something else is being measured.

    Raises:
        RunError: nothing could be certified; the error says what is missing.
        InputError: something given cannot be used.
    """
    with blamed(), contained(), same_draws(), ExitStack() as kept:
        GuardChoices(expires=expires).check(Path(out))
        if run is None:
            described = {"conditions.use": ["clean"]} if plan is None else plan
            named, others = _named(model, data, _read(described, shipped=_is_shipped(model, data)), device, None)
            aimed = _aimed(named, risk, coverage, attack_signal)
            aimed = aimed if signal == "auto" else aimed.about_signal(signal)
            results = _audited(aimed, None, others, say or _silent)
            folder = results.folder or Path()
        else:
            folder = kept.enter_context(working_folder(run))
            results = write_results(folder)
            named, others = _named(model, data, read_plan(folder / "plan.toml"), device, None)
        results.require_certificate()
        embedding = embed or ("program" if others.classifier is not None else "none")
        choices = GuardChoices(embedding=embedding, expires=expires, golden=golden)
        guard_of_run(folder, Path(out), choices, others)
        return Guard.load(out)


def _is_shipped(model: object, data: object) -> bool:
    return (model is None or (isinstance(model, str) and model in SHIPPED)) and (
        data is None or (isinstance(data, str) and data == "fashion")
    )


def _named(
    model: AnyClassifier | nn.Module | str | None, data: object, plan: Plan, device: str | None, unknown: object
) -> tuple[Plan, StandIns]:
    """The plan that names model and data, and the objects that stand in for what it names."""
    described = _described(model)
    source = None if data is None or isinstance(data, str) else _source(data, described)
    named = _naming(plan, described, data if isinstance(data, str) else source)
    if source is None and isinstance(described, Classifier):
        source = open_data(named.data.address)
    others = None if unknown is None or isinstance(unknown, str) else unlabelled(unknown)
    named = named if unknown is None else _with_unknown(named, unknown if isinstance(unknown, str) else others)
    return named, StandIns(source=source, classifier=_bound(described, source), device=device, unknown=others)


def _audited(
    plan: Plan, out: Path | str | None, others: StandIns, say: Say, resources: Resources | None = None
) -> Results:
    given = others.source, others.classifier, others.device, others.unknown
    with nullcontext() if out is None else working_folder(out) as place:
        folder = run_plan(plan, place, SpokenProgress(say), *given, resources)
        results = write_results(folder, by="audit").of_folder(folder)
        write(folder, results)
    return results


def _aimed(plan: Plan, risk: float | None, coverage: float | None, attack_signal: str | None) -> Plan:
    """The plan at the risk or the coverage, and with the attack signal, that were given."""
    if risk is not None and coverage is not None:
        raise InputError(
            f"`risk` and `coverage` exclude each other; got {risk:g} and {coverage:g}. One is fixed, the other shown: "
            "leave one out, or name both `certified` and `capacity` in the plan's policies."
        )
    return plan.aimed(risk, coverage, attack_signal)


def _described(model: AnyClassifier | nn.Module | str | None) -> AnyClassifier | str | None:
    """A module is a classifier of logits that reads images in [0, 1]."""
    if model is None or isinstance(model, (BoundClassifier, Classifier, str)):
        return model
    if isinstance(model, nn.Module):
        return Classifier(model)
    raise ModelError(
        "the model is a torch.nn.Module, a demur.Classifier or an address such as zoo:resnet20@w.safetensors; got "
        f"{type(model).__name__}."
    )


def _source(data: object, model: AnyClassifier | str | None) -> Source:
    """The images; labels without names have those of the model, or its numbers."""
    classes = None if model is None or isinstance(model, str) else model.classes
    if classes is None and names_of(data) is None and isinstance(model, Classifier):
        source = from_given(data)  # once: the batches of a stream come a single time
        if isinstance(source, (DatasetSource, SpooledSource, TensorSource)) and is_numbered(source.classes):
            return replace(source, classes=model.numbered(torch.zeros(1, *source.input_shape)))
        return source
    return from_given(data, classes=classes)


def _bound(model: AnyClassifier | str | None, source: Source | None) -> BoundClassifier | None:
    """The classifier that the job holds; None where the plan's address leads to it."""
    if isinstance(model, Classifier) and source is not None:
        return model.bind(classes=source.classes, input_shape=source.input_shape)
    return model if isinstance(model, BoundClassifier) else None


def _read(plan: Plan | Mapping[str, Any] | Path | str | None, *, shipped: bool) -> Plan:
    match plan:
        case Plan():
            return plan
        case None | Mapping():
            return read_plan(None, (), plan, shipped=shipped)
        case _:
            return read_plan(Path(plan))


def _naming(plan: Plan, model: AnyClassifier | str | None, data: Source | str | None) -> Plan:
    """The plan with the model and the data it will be run on by name."""
    if model is not None:
        name = model if isinstance(model, str) else model.title if isinstance(model, Classifier) else model.name
        called = {"address": name}
        plan = plan.model_copy(update={"model": plan.model.model_copy(update=called)})
    if data is not None:
        called = {"address": data if isinstance(data, str) else data.address}
        plan = plan.model_copy(update={"data": plan.data.model_copy(update=called)})
    return plan


def _with_unknown(plan: Plan, unknown: str | Source | None) -> Plan:
    """The plan with the images of none of the classes by name."""
    address = unknown if isinstance(unknown, str) or unknown is None else unknown.address
    return plan.model_copy(update={"data": plan.data.model_copy(update={"unknown": address})})


def _silent(_sentence: str) -> None:
    pass
