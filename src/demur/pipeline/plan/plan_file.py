"""The plan: everything an audit will do, as TOML that a person can read and a hash can pin."""

import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from demur.errors import InputError, brief, legible, unknown
from demur.guard.file_list import verify_files
from demur.pipeline.plan.guarantee_names import at_coverage, at_risk, with_attack_signal
from demur.pipeline.plan.toml_text import check_depth, literal, put, read_toml, toml_text
from demur.registry import Name, build, call_of, kind_of, lookup, names
from demur.registry.gate_rules import SUBJECTS, Gate, gates_sha256, read_gate
from demur.registry.tables import CENTRED, MARKED

OCCLUSIONS = ("blur", "mean")
_RULES = {
    "tuple_type": "input should be a list, in brackets",
    "model_type": "input should be a table of keys",
}
"""What pydantic says of Python types, in words of TOML."""


_MOST = 10_000
_INT64 = 2**63

Names: TypeAlias = Annotated[tuple[Annotated[str, AfterValidator(Name)], ...], Field(max_length=_MOST)]
"""Names of attacks, signals, …: text that is parsed once, when the plan is read."""


class Section(BaseModel):
    """Base of the plan's tables: frozen and closed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True)


class Purpose(Section):
    """What the classifier is for; a missing entry is reported as not declared."""

    intended_use: str | None = None
    population: str | None = None
    acquisition: str | None = None
    abstentions_go_to: str | None = None
    threat_model: str | None = None


class ModelPlan(Section):
    """The classifier. `trust_labels` overrides the refusal of a model that scores like chance."""

    address: str = "fashion"
    trust_labels: bool = False


class DataPlan(Section):
    """The labelled held-out images; `limit` keeps the N with the smallest hashes.

    `source` is what the user calls the place they come from, such as "line 3": tests of other images of the same source
    are later looks, as those of the same images are. `positive` names the class that must not be missed, `prevalence`
    how common it is in use, as in `positive=0.005`. `unknown` is the address of images of none of
    the classes.
    """

    address: str = "fashion"
    limit: int | None = Field(default=None, ge=20, lt=_INT64)
    source: str | None = None
    positive: str | None = None
    prevalence: str | None = None
    unknown: str | None = None


class GuardPlan(Section):
    """A guard to audit instead of fitting a policy: its `folder`, and the `sha256` of its list of files."""

    folder: str
    sha256: str | None = None


class Conditions(Section):
    """What the classifier is put through. Attacks use the `attacked` test images with the smallest hashes.

    `surrogate` is the address of a similar model without defence: points that fool it are tried on this one.
    """

    use: Names = Field(default=(), strict=False)
    attacked: int = Field(default=1000, ge=1, lt=_INT64)
    surrogate: str | None = None


class Signals(Section):
    """Scores of uncertainty; `msp`, the baseline, is always among them."""

    use: Names = Field(default=("msp", "entropy", "margin", "max_logit", "energy"), strict=False)


class Policies(Section):
    """Rules that decide to answer or to abstain."""

    use: Names = Field(default=("certified(risk=0.02, delta=0.05)", "rule(confidence=0.6, entropy=1.0)"), strict=False)


class EpsilonPlan(Section):
    """How far one must go: searches for the smallest change, on held-out images of any split, those attacked first.

    `use` names rays and other attacks that search; without it a plan that names no conditions has `ray`. `curves`
    images have their confidence followed along each ray.
    """

    use: Names | None = Field(default=None, strict=False)
    images: int = Field(default=1000, ge=1, lt=_INT64)
    curves: int = Field(default=64, ge=0, lt=_INT64)


class AttributionPlan(Section):
    """Attribution maps, on the first `images` of those that `epsilon` is about.

    `maps` are kinds of maps. `regions` say what counts as the object: maps, `marked` for the boxes and masks of the
    data, or `centred` for a blob in the middle, which the others must beat. `occlude` is how a region is hidden. What
    is not given is nothing, or in a plan that names no conditions the usual.
    """

    maps: Names | None = Field(default=None, strict=False)
    regions: Names | None = Field(default=None, strict=False)
    occlude: tuple[str, ...] | None = Field(default=None, strict=False)
    images: int = Field(default=500, ge=1, lt=_INT64)


class LipschitzPlan(Section):
    """How fast the answer can change: norms of the layers, and of the Jacobian at so many images; 0 leaves it out."""

    images: int | None = Field(default=None, ge=0, lt=_INT64)


class Plan(Section):
    """A whole audit. `batch` is part of the plan because the last bits of a logit depend on it."""

    version: Literal[1] = 1
    seed: int = Field(default=0, ge=-_INT64, lt=_INT64)
    batch: int = Field(default=128, ge=2, lt=_INT64)
    purpose: Purpose = Purpose()
    model: ModelPlan = ModelPlan()
    data: DataPlan = DataPlan()
    conditions: Conditions = Conditions()
    epsilon: EpsilonPlan = EpsilonPlan()
    attribution: AttributionPlan = AttributionPlan()
    lipschitz: LipschitzPlan = LipschitzPlan()
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

    Without a file, the classifier that comes with demur comes with its purpose; with `shipped=False` it does not,
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
    """The shipped classifier on its own images has a purpose, where nothing else is said; another's is not known."""
    if (plan.model.address, plan.data.address) != ("fashion", "fashion"):
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
            section = section.model_fields[str(part)].annotation
        where = f" in [{'.'.join(map(str, path))}]" if path else ""
        return unknown(f"plan key{where}", str(last), section.model_fields)
    rule = _RULES.get(first["type"], f"{first['msg'][0].lower()}{first['msg'][1:]}")
    way_out = (
        f' Write {brief(key)}="{brief(str(first["input"]))}", quotes included.'
        if first["type"] == "string_type"
        else ""
    )
    return InputError(f"plan key {brief(key)!r}: {brief(rule)}; got {brief(repr(first['input']))}.{way_out}")


def _check_names(plan: Plan) -> None:
    for text in plan.signals.use:
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
