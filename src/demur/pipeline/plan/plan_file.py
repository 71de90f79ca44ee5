"""The plan: everything an audit will do, as TOML that a person can read and a hash can pin."""

import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError, field_validator

from demur.errors import InputError, brief, legible, unknown
from demur.guard.file_list import verify_files
from demur.pipeline.plan.guarantee_names import at_coverage, at_risk, with_attack_signal
from demur.pipeline.plan.plan_tables import (
    INT64,
    AttributionPlan,
    ChecksPlan,
    Conditions,
    DataPlan,
    EpsilonPlan,
    GuardAttackPlan,
    GuardPlan,
    LipschitzPlan,
    ModelPlan,
    Policies,
    ProofPlan,
    Purpose,
    Section,
    Signals,
    SmoothingPlan,
)
from demur.pipeline.plan.toml_text import check_depth, literal, put, read_toml, toml_text
from demur.registry import SHIPPED, Name, build, call_of, kind_of, lookup, names
from demur.registry.gate_rules import SUBJECTS, Gate, gates_sha256, read_gate
from demur.registry.tables import CENTRED, MARKED

OCCLUSIONS = ("blur", "mean")
_RULES = {
    "tuple_type": "input should be a list, in brackets",
    "model_type": "input should be a table of keys",
}
"""What pydantic says of Python types, in words of TOML."""


class Plan(Section):
    """A whole audit. `batch` is part of the plan because the last bits of a logit depend on it."""

    version: Literal[1] = 1
    seed: int = Field(default=0, ge=-INT64, lt=INT64)
    batch: int = Field(default=128, ge=2, lt=INT64)
    purpose: Purpose = Purpose()
    model: ModelPlan = ModelPlan()
    data: DataPlan = DataPlan()
    conditions: Conditions = Conditions()
    epsilon: EpsilonPlan = EpsilonPlan()
    attribution: AttributionPlan = AttributionPlan()
    lipschitz: LipschitzPlan = LipschitzPlan()
    proof: ProofPlan = ProofPlan()
    smoothing: SmoothingPlan | None = None
    guard_attack: GuardAttackPlan = GuardAttackPlan()
    checks: ChecksPlan = ChecksPlan()
    signals: Signals = Signals()
    policies: Policies = Policies()
    guard: GuardPlan | None = None
    costs: dict[str, float] = Field(default_factory=dict)
    gates: dict[str, str] = Field(default_factory=dict)

    @field_validator("gates", mode="before")
    @classmethod
    def _whole_keys(cls, value: Any) -> Any:
        """TOML reads the dots of an unquoted key as tables within tables; a gate's key is one text."""
        return dict(_leaves(value)) if isinstance(value, Mapping) else value

    def toml(self) -> str:
        """The canonical text: every key, in order, nothing left to a default."""
        return toml_text(self.model_dump(exclude_none=True))

    def at_risk(self, risk: float) -> "Plan":
        """The same plan with every certified threshold at another risk; with one added where it has none.

        Raises:
            InputError: the risk is no share.
        """
        return self.model_copy(update={"policies": Policies(use=at_risk(self.policies.use, risk))})

    def at_coverage(self, coverage: float) -> "Plan":
        """The same plan with a coverage fixed, and nothing certified at a risk.

        Raises:
            InputError: the coverage is no share.
        """
        return self.model_copy(update={"policies": Policies(use=at_coverage(self.policies.use, coverage))})

    def about_signal(self, signal: str) -> "Plan":
        """The same plan with guarantees about one signal, named beforehand.

        Raises:
            UnknownNameError: no signal has the name.
        """
        lookup("signal", call_of(signal).name)
        return self.model_copy(update={"signals": self.signals.model_copy(update={"certify": Name(signal)})})

    def with_data(self, address: str) -> "Plan":
        """The plan about the images at an address."""
        return self.model_copy(update={"data": self.data.model_copy(update={"address": address})})

    def with_guard(self, folder: Path) -> "Plan":
        """The same plan with the policy of a guard, as its folder is now, instead of certifying one.

        Raises:
            InputError: the folder is no guard.
        """
        return self.model_copy(update={"guard": GuardPlan(folder=str(folder), sha256=verify_files(folder))})

    def with_attack_signal(self, signal: str) -> "Plan":
        """The same plan with a second threshold, on a signal of attacks, beside every certified one.

        Raises:
            UnknownNameError: no signal has the name.
            InputError: the plan certifies nothing, or in each class or at each site.
        """
        lookup("signal", call_of(signal).name)
        return self.model_copy(update={"policies": Policies(use=with_attack_signal(self.policies.use, signal))})

    def aimed(self, risk: float | None, coverage: float | None, attack_signal: str | None) -> "Plan":
        """The same plan at a risk or at a coverage, and with an attack signal, as far as they are given.

        Raises:
            UnknownNameError, InputError: as `at_risk`, `at_coverage` and `with_attack_signal` do.
        """
        plan = self if coverage is None else self.at_coverage(coverage)
        plan = plan if risk is None else plan.at_risk(risk)
        return plan if attack_signal is None else plan.with_attack_signal(attack_signal)

    @property
    def sha256(self) -> str:
        """Hash of the canonical text."""
        return hashlib.sha256(self.toml().encode()).hexdigest()

    @property
    def gates_sha256(self) -> str:
        """Hash of the acceptance rules alone."""
        return gates_sha256(self.gates)


_SETTING = re.compile(r'((?:"[^"]*"|[^="])+)=(.*)', re.DOTALL)


def read_plan(
    path: Path | None,
    settings: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
    *,
    shipped: bool = True,
) -> Plan:
    """A plan from a TOML file, `key=value` settings over it, and changes by dotted key over both.

    Without a file, a classifier that comes with demur comes with its purpose; with `shipped=False` it does not,
    since something else will stand in for it or for its images.

    Raises:
        InputError: the file does not parse, or a value breaks its rule.
        UnknownNameError: a key, attack, corruption, signal or policy that nobody knows; the nearest is offered.
    """
    tree = {} if path is None else read_toml(path)
    for setting in settings:
        match = _SETTING.fullmatch(setting)
        if not match:
            raise InputError(f"--set takes KEY=VALUE, such as --set data.limit=2000; got {brief(setting)!r}.")
        put(tree, match[1].strip(), literal(match[2].strip()))
    for key, value in (changes or {}).items():
        put(tree, key, value)
    check_depth(tree)
    try:
        plan = Plan.model_validate(tree)
    except ValidationError as error:
        raise _explain(error) from None
    _check_text(plan.toml())
    _check_names(plan)
    return _purposeful(plan) if shipped and path is None else plan


def _check_text(text: str) -> None:
    """Refuse halves of characters, as bytes that are not UTF-8 become on a command line."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        near = legible(text[max(0, error.start - 40) : error.end])
        raise InputError(f"the plan holds bytes that are not UTF-8 after …{near}. Write it in UTF-8.") from None


def _purposeful(plan: Plan) -> Plan:
    """A shipped classifier on its own images has a purpose, where nothing else is said; another's is not known."""
    if plan.model.address not in SHIPPED or plan.data.address != "fashion":
        return plan
    known = tomllib.loads((files("demur.pipeline") / "shipped.toml").read_text(encoding="utf-8"))["purpose"]
    return plan.model_copy(update={"purpose": Purpose(**known | plan.purpose.model_dump(exclude_none=True))})


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _explain(error: ValidationError) -> InputError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        *path, last = first["loc"]
        section: Any = Plan
        for part in path:
            section = _table(section.model_fields[str(part)].annotation)
        where = f" in [{'.'.join(map(str, path))}]" if path else ""
        return unknown(f"plan key{where}", str(last), section.model_fields)
    rule = _RULES.get(first["type"], f"{first['msg'][0].lower()}{first['msg'][1:]}")
    way_out = (
        f' Write {brief(key)}="{brief(str(first["input"]))}", quotes included.'
        if first["type"] == "string_type"
        else ""
    )
    return InputError(f"plan key {brief(key)!r}: {brief(rule)}; got {brief(repr(first['input']))}.{way_out}")


def _table(annotation: Any) -> Any:
    """The table that a key holds, if it is there."""
    return next(each for each in (annotation, *get_args(annotation)) if hasattr(each, "model_fields"))


def _check_names(plan: Plan) -> None:
    for text in (*plan.signals.use, *filter(None, [plan.signals.certify])):
        lookup("signal", call_of(text).name)
    for text in plan.policies.use:
        build("policy", text)
    for text in plan.conditions.use:
        name = call_of(text).name
        if name != "clean" and kind_of(name, "attack", "corruption") is None:
            raise unknown("condition", name, _every_condition())
    _check_sections(plan)
    for key, rule in plan.gates.items():
        _check_gate(read_gate(key, rule), plan)


def _every_condition() -> set[str]:
    return {"clean", *names("attack"), *names("corruption")}


def _check_sections(plan: Plan) -> None:
    for text in plan.epsilon.use or ():
        lookup("attack", call_of(text).name)
    for text in plan.attribution.maps or ():
        lookup("map", call_of(text).name)
    for text in plan.attribution.regions or ():
        if text not in {MARKED, CENTRED} and kind_of(call_of(text).name, "map") is None:
            raise unknown("region", text, [MARKED, CENTRED, *names("map")])
    for text in plan.attribution.occlude or ():
        if text not in OCCLUSIONS:
            raise unknown("way to occlude a region", text, OCCLUSIONS)


def _check_gate(gate: Gate, plan: Plan) -> None:
    """A gate is about something the plan measures; without conditions of its own a plan may have any."""
    if gate.signal is not None:
        measured = {"msp", *(call_of(text).name for text in plan.signals.use)}
        if call_of(gate.signal).name not in measured:
            raise unknown("signal of a gate", gate.signal, measured)
    if gate.condition is not None:
        own = {"clean", *(call_of(text).name for text in plan.conditions.use)}
        families = own if plan.conditions.use else _every_condition()
        if call_of(gate.condition).name not in families:
            raise unknown("subject of a gate", gate.condition, {*families, *SUBJECTS, "signals.msp"})
