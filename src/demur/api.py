"""Audit in one call, for those who have a classifier and images in Python."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demur.analysis import Results, write_results
from demur.classifier import Classifier
from demur.data import Source
from demur.pipeline.plan.plan_file import Plan, read_plan
from demur.pipeline.run.loop import run_plan as run_plan
from demur.report import write

Say = Callable[[str], None]


@dataclass(frozen=True)
class _SentenceProgress:
    """The progress of an audit as sentences."""

    say: Say

    def start(self, rows: int) -> None:
        """Sentences have no total."""

    def advance(self, rows: int, what: str) -> None:  # noqa: ARG002 - sentences have no total
        """Tell what is being measured."""
        self.say(what)


def run_audit(
    model: Classifier | str | None = None,
    data: Source | str | None = None,
    *,
    out: Path | str,
    plan: Plan | Mapping[str, Any] | Path | str | None = None,
    risk: float | None = None,
    say: Say | None = None,
) -> Results:
    """Audit a classifier on labelled held-out images, and return what was found.

    The run folder `out` then has the records, `results.json` and `report.html`; the same call again continues an
    interrupted audit, and a finished one measures nothing twice.

    Args:
        model: a classifier, or an address such as `"zoo:resnet20@w.safetensors"`; by default what the plan names.
        data: a source, or an address such as `"parquet:test.parquet"`; by default what the plan names. Images the model
            was trained on make every number worthless; those its `learned_from` names are left out.
        out: the run folder, made if it is not there.
        plan: a plan, the path of a TOML one, or the keys that differ from the defaults, such as
            `{"data.limit": 2000, "conditions.use": ["pgd(eps=[1/255, 2/255])"]}`.
        risk: the largest tolerable share of wrong answers, such as 0.02; by default what the plan says.
        say: called with a sentence whenever something else is being measured; by default nobody is told.

    Raises:
        InputError: something given cannot be used; nothing was measured.
        RunError: the folder belongs to another run.
    """
    ours = all(given is None or given == "fashion" for given in (model, data))
    named = _naming(_read(plan, shipped=ours), model, data)
    folder = run_plan(
        named if risk is None else named.at_risk(risk),
        Path(out),
        _SentenceProgress(say or _no_output),
        source=None if data is None or isinstance(data, str) else data,
        classifier=model if isinstance(model, Classifier) else None,
    )
    results = write_results(folder, by="audit")
    write(folder, results)
    return results


def _read(plan: Plan | Mapping[str, Any] | Path | str | None, *, shipped: bool) -> Plan:
    match plan:
        case Plan():
            return plan
        case None | Mapping():
            return read_plan(None, (), plan, shipped=shipped)
        case _:
            return read_plan(Path(plan))


def _naming(plan: Plan, model: Classifier | str | None, data: Source | str | None) -> Plan:
    """The plan with the model and the data it will be run on by name."""
    if model is not None:
        called = {"address": model if isinstance(model, str) else model.name}
        plan = plan.model_copy(update={"model": plan.model.model_copy(update=called)})
    if data is not None:
        called = {"address": data if isinstance(data, str) else data.address}
        plan = plan.model_copy(update={"data": plan.data.model_copy(update=called)})
    return plan


def _no_output(_sentence: str) -> None:
    pass
