"""The plan of a matrix: which models, attacks and signals, on which images; wrong names are refused at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from demur.adapters import load_model
from demur.data import Source
from demur.errors import InputError, brief, unknown
from demur.pipeline.pairing import open_data_for_each
from demur.pipeline.plan.conditions import Condition, conditions
from demur.pipeline.plan.plan_file import Plan, read_plan
from demur.pipeline.plan.plan_tables import INT64, Names, Section
from demur.pipeline.plan.toml_text import check_depth, read_toml
from demur.registry import build, call_of, kind_of, name_of, names


class MatrixPlan(Section):
    """Three lists and what all audits have in common.

    Attacks use the `attacked` test images with the smallest hashes; `trust_labels` is that of an audit's plan.
    """

    models: tuple[str, ...] = Field(min_length=1, strict=False)
    data: str
    attacks: Names = Field(min_length=1, strict=False)
    signals: Names = Field(min_length=1, strict=False)
    attacked: int = Field(default=1000, ge=1, lt=INT64)
    limit: int | None = Field(default=None, ge=20, lt=INT64)
    seed: int = Field(default=0, ge=-INT64, lt=INT64)
    batch: int = Field(default=128, ge=2, lt=INT64)
    trust_labels: bool = False

    def audit(self, model: str, attacks: tuple[str, ...], signals: tuple[str, ...]) -> Plan:
        """The audit of one model that these cells are read from."""
        changes: dict[str, Any] = {
            "model.address": model,
            "model.trust_labels": self.trust_labels,
            "data.address": self.data,
            "conditions.use": ["clean", *attacks],
            "conditions.attacked": self.attacked,
            "signals.use": list(signals),
            "policies.use": [],
            "seed": self.seed,
            "batch": self.batch,
            **({} if self.limit is None else {"data.limit": self.limit}),
        }
        return read_plan(None, (), changes, shipped=False)


@dataclass(frozen=True, kw_only=True)
class Axes:
    """What a matrix is made of, every name in its canonical text: models by address, with the hash of each."""

    plan: MatrixPlan
    models: dict[str, str]
    attacks: tuple[Condition, ...]
    signals: tuple[str, ...]


def read_matrix(path: Path) -> Axes:
    """The plan in a TOML file, everything it names looked up, built and loaded once.

    Raises:
        InputError: a key, model, attack, signal or data set that cannot be; nothing was run.
    """
    tree = read_toml(path)
    check_depth(tree)
    try:
        plan = MatrixPlan.model_validate(tree)
    except ValidationError as error:
        raise _explained(error) from None
    for text in plan.attacks:
        name = call_of(text).name
        if kind_of(name, "attack") is None:
            raise unknown("attack", name, names("attack"))
    source = open_data_for_each(plan.models, plan.data)
    attacks = tuple(each for each in conditions(plan.attacks, source.input_shape) if each.kind == "attack")
    signals = tuple(name_of("signal", build("signal", text)) for text in plan.signals)
    _check_single("model", plan.models)
    _check_single("attack", tuple(each.name for each in attacks))
    _check_single("signal", signals)
    return Axes(plan=plan, models=dict(_loaded(plan, source)), attacks=attacks, signals=signals)


def _explained(error: ValidationError) -> InputError:
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")  # a slip leaves a gap too
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return unknown("key of a matrix", key, MatrixPlan.model_fields)
    if first["type"] == "missing":
        return InputError(
            f"a matrix needs the key {key!r}. It has models, data, attacks and signals, lists but for data."
        )
    return InputError(f"matrix key {brief(key)!r}: {brief(first['msg'])}; got {brief(repr(first['input']))}.")


def _check_single(kind: str, texts: tuple[str, ...]) -> None:
    for at, text in enumerate(texts):
        if text in texts[:at]:
            raise InputError(f"the {kind} {brief(text)!r} stands in the matrix twice. Leave one out.")


def _loaded(plan: MatrixPlan, source: Source) -> Iterator[tuple[str, str]]:
    """Each model and its hash; one at a time is in memory."""
    for address in plan.models:
        yield address, load_model(address, classes=source.classes, input_shape=source.input_shape).sha256
