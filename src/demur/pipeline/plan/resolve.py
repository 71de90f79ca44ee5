"""A plan with every default written out, and everything it names built once."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import reduce
from math import prod
from operator import or_
from typing import TypeAlias

from demur.attribution import AttributionMap
from demur.data import Source
from demur.errors import InputError, UnknownNameError
from demur.pipeline.plan.conditions import UNKNOWN, Condition, Shape, conditions, default_conditions
from demur.pipeline.plan.plan_file import OCCLUSIONS, Plan
from demur.pipeline.plan.plan_tables import LipschitzPlan
from demur.pipeline.plan.sections import (
    guard_attack,
    guard_passes,
    map_condition,
    occlusion_conditions,
    region_conditions,
    search_conditions,
)
from demur.pipeline.plan.sizing import BUDGET, LARGE, Effort, Sizing, smaller
from demur.policies import (
    CERTIFIERS,
    Band,
    Capacity,
    Certified,
    Certifier,
    FittedThreshold,
    Policy,
    Threshold,
    TuneFitted,
)
from demur.registry import Call, Name, build, call_of, describe
from demur.registry.gate_rules import Gate, check_positive, read_costs, read_gate, read_prevalence
from demur.registry.tables import CENTRED, MARKED
from demur.signals import LOGITS, AnySignal, needs_of

AnyPolicy: TypeAlias = Certifier | TuneFitted | Policy

_PROBED = 32
_LARGEST_BATCH = 4 << 30


@dataclass(frozen=True)
class Setup:
    """What a plan comes to for images of one shape: names are parsed and things are built here and nowhere later.

    Attributes:
        plan: every default written out, every name in its canonical text.
        conditions: clean, attacks, corruptions, images of none of the classes, then searches, maps and occlusions, in
            the order they are measured.
        signals: by canonical name, `msp` and those that policies read among them.
        policies: by the text that the plan has for them.
        maps: maps and regions that are maps, by canonical name.
        calls: the names the plan was given, as they were parsed.
        sizing: how much smaller the usual plan was made for a large model; None where it was not.
    """

    plan: Plan
    conditions: tuple[Condition, ...]
    signals: Mapping[str, AnySignal]
    policies: Mapping[str, AnyPolicy]
    maps: Mapping[str, AttributionMap]
    calls: tuple[Call, ...]
    sizing: Sizing | None = None


def resolve(
    plan: Plan, source: Source, *, spatial: bool = True, gradients: bool = True, multiply_adds: int = 0
) -> Setup:
    """The plan written out for its images, and what it names; the usual one is made smaller for a large model.

    Args:
        plan: as it was given; where it names no conditions it gets the usual ones and the usual sections.
        source: its images; the objects they mark are a usual region.
        spatial: whether the model has layers with pixels, which Grad-CAM needs.
        gradients: whether its answers have gradients, which most attacks, maps and norms need.
        multiply_adds: of the model, for one image; by default it counts as small.

    Raises:
        InputError: a condition, signal, policy, gate, cost or positive class that cannot be; better now than after an
            hour.
    """
    found = _written_out(plan, source, spatial=spatial, gradients=gradients)
    if plan.conditions.use or multiply_adds < LARGE:
        return found
    needs = reduce(or_, map(needs_of, found.signals.values()), LOGITS)
    of_guard = guard_passes(found.plan, found.signals, map(second_signal, found.policies.values()))
    effort = Effort.before(source, found.plan, multiply_adds=multiply_adds, passes=needs.passes, guard_passes=of_guard)
    left = dict[str, str]()
    usual = effort.of(found.plan, found.conditions)
    for change in smaller(plan):
        if effort.of(found.plan, found.conditions) <= BUDGET:
            break
        found = _written_out(change.without(found.plan), source, spatial=spatial, gradients=gradients)
        left[change.subject] = change.words
    sizing = Sizing(multiply_adds=multiply_adds, usual=usual, budget=BUDGET, left_out=tuple(left.values()))
    return replace(found, sizing=sizing) if left else found


def _written_out(plan: Plan, source: Source, *, spatial: bool, gradients: bool) -> Setup:
    """The plan written out for the shape of its images, and what it names."""
    plan, shape = with_error_direction(plan, source.classes), source.input_shape
    given = tuple(_calls(plan))
    policies: dict[str, AnyPolicy] = {text: build("policy", text) for text in plan.policies.use}
    named = list(filter(None, [plan.signals.certify]))
    read = _signal_calls(["msp", *plan.signals.use, *named, *_read_by(policies.values())])
    signals = _signals(read)
    policies = {text: _with_canonical_signal(policy) for text, policy in policies.items()}
    found = conditions(plan.conditions.use or default_conditions(shape, gradients=gradients), shape)
    plan, sections, maps = _with_sections(plan, source, _Usual.of(plan, source, spatial=spatial, gradients=gradients))
    names = tuple(condition.name for condition in found)
    twice = sorted(set(names) & {section.name for section in sections})
    if twice:
        raise InputError(
            f"{twice[0]!r} stands among the conditions and in [epsilon] too. It would be measured twice, on other "
            "images: keep it in one of the two."
        )
    certify = next(iter(_signals(map(call_of, named))), None)
    plan = plan.model_copy(
        update={"signals": plan.signals.model_copy(update={"use": tuple(signals), "certify": certify})}
    )
    passes = guard_passes(plan, signals, map(second_signal, policies.values()))
    changes = {
        "conditions": plan.conditions.model_copy(update={"use": names}),
        "gates": canonical_gates(plan.gates, shape, found, tuple(signals)),
        "guard_attack": guard_attack(plan, passes, policies.values(), gradients=gradients),
    }
    other = () if plan.data.unknown is None else (UNKNOWN,)
    return Setup(plan.model_copy(update=changes), (*found, *other, *sections), signals, policies, maps, (*given, *read))


def second_signal(policy: AnyPolicy) -> str | None:
    """The name of the second signal of a policy that is about two; canonical in a `Setup`."""
    if isinstance(policy, Certified | Capacity) and policy.second is not None:
        return str(policy.second)
    return None


def _read_by(policies: Iterable[AnyPolicy]) -> Iterator[str]:
    """The signals that policies read, but for the one that an audit chooses."""
    for policy in policies:
        second = second_signal(policy)
        if second is not None:
            yield second
        elif not isinstance(policy, CERTIFIERS):
            yield from policy.signals


def _with_canonical_signal(policy: AnyPolicy) -> AnyPolicy:
    """The policy with the signal it names, its second one where it has one, as its scores have it in the records."""
    if isinstance(policy, Threshold | Band | FittedThreshold):
        (name,) = _signals([call_of(policy.signal)])
        return replace(policy, signal=name)
    if isinstance(policy, Certified | Capacity) and policy.second is not None:
        (name,) = _signals([policy.second])
        return replace(policy, second=call_of(name))
    return policy


def check_batch(plan: Plan, source: Source) -> None:
    """Refuse batches that would fill the memory before the model has begun.

    Raises:
        InputError: the images of one batch take more than 4 GiB.
    """
    images = min(plan.batch, len(source))
    size = 4 * prod(source.input_shape) * images
    if size > _LARGEST_BATCH:
        shape = "×".join(map(str, source.input_shape))
        raise InputError(
            f"a batch of {images:,} images of {shape} takes {size / 2**30:,.0f} GiB, and may take at most "
            f"{_LARGEST_BATCH >> 30}. Give a smaller --batch, or smaller images with ?size=…."
        )


def _calls(plan: Plan) -> Iterator[Call]:
    """The names of a plan but for those of signals."""
    sections = (
        plan.conditions.use,
        plan.policies.use,
        plan.epsilon.use,
        plan.attribution.maps,
        plan.attribution.regions,
    )
    for texts in sections:
        yield from map(call_of, texts or ())


def _signal_calls(texts: Sequence[str]) -> list[Call]:
    """The names of signals, none twice."""
    read: dict[str, Name] = {text: text for text in texts if isinstance(text, Name)}
    return [call_of(read.get(text, text)) for text in dict.fromkeys(texts)]


def _signals(calls: Iterable[Call]) -> dict[str, AnySignal]:
    """Canonical name → signal, each built once."""
    return {describe(call.name, signal): signal for call, signal in ((call, build("signal", call)) for call in calls)}


@dataclass(frozen=True, kw_only=True)
class _Usual:
    """The sections of a plan that names no conditions."""

    searches: tuple[str, ...] = ()
    maps: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    images: int = 0
    proven: int = 0

    @classmethod
    def of(cls, plan: Plan, source: Source, *, spatial: bool, gradients: bool) -> "_Usual":
        """What is usual for a model: all of it follows gradients."""
        if plan.conditions.use or not gradients:
            return cls()
        cam = ("grad_cam",) if spatial else ()
        regions = () if plan.attribution.regions is not None else _usual_regions(source, cam)
        return cls(searches=("ray",), maps=(*cam, "gradient"), regions=regions, images=64, proven=200)


def _with_sections(
    plan: Plan, source: Source, usual: _Usual
) -> tuple[Plan, tuple[Condition, ...], dict[str, AttributionMap]]:
    """The plan with its sections written out: what it has, and else what is usual."""
    given = plan.attribution
    maps = _maps(given.maps if given.maps is not None else usual.maps, {})
    regions = _maps(given.regions if given.regions is not None else usual.regions, maps)
    rays = plan.epsilon.use if plan.epsilon.use is not None else usual.searches
    searches = search_conditions(rays, source.input_shape)
    occlude = given.occlude if given.occlude is not None else OCCLUSIONS if regions else ()
    images = plan.lipschitz.images if plan.lipschitz.images is not None else usual.images
    proven = plan.proof.images if plan.proof.images is not None else usual.proven
    attribution = given.model_copy(update={"maps": tuple(maps), "regions": tuple(regions), "occlude": occlude})
    changes = {
        "epsilon": plan.epsilon.model_copy(update={"use": tuple(condition.name for condition in searches)}),
        "attribution": attribution,
        "lipschitz": LipschitzPlan(images=images),
        "proof": plan.proof.model_copy(update={"images": proven}),
    }
    shown = [condition for condition in maps.values() if condition is not None]
    areas = (*region_conditions(attribution), *occlusion_conditions(attribution))
    built = {each.name: each.map for each in (*shown, *regions.values()) if each is not None and each.map is not None}
    return plan.model_copy(update=changes), (*searches, *shown, *areas), built


def _maps(texts: Sequence[str], others: Mapping[str, Condition | None]) -> dict[str, Condition | None]:
    """Canonical name → map, of regions that are no map nothing; none twice, and none built that `others` have."""
    found = dict[str, Condition | None]()
    for text in texts:
        condition = None if text in {MARKED, CENTRED} else others.get(text) or map_condition(text)
        found[text if condition is None else condition.name] = condition
    return found


def _usual_regions(source: Source, cam: tuple[str, ...]) -> tuple[str, ...]:
    """What is known of the object, and the blob that any of it must beat."""
    found = (*cam, *((MARKED,) if _is_marked(source) else ()))
    return (*found, CENTRED) if found else ()


def _is_marked(source: Source) -> bool:
    """Whether any of some images from all over the set says where its object is."""
    places = sorted({place * len(source) // _PROBED for place in range(_PROBED)}) if len(source) else []
    return any(row.mark is not None for row in source.read(places))


def canonical_gates(
    gates: Mapping[str, str], shape: Shape, known: Sequence[Condition], signals: Sequence[str]
) -> dict[str, str]:
    """Every gate in one spelling; a family of conditions, or a list of values, is one gate for each condition.

    Args:
        gates: key → rule.
        shape: of the images.
        known: the plan's conditions.
        signals: canonical names of its signals.

    Raises:
        UnknownNameError: a gate about a condition or signal that is not in the plan.
    """
    found = {}
    for key, rule in gates.items():
        gate = read_gate(key, rule)
        for subject in _subjects(gate, shape, known, signals):
            found[f"{subject}.{gate.measure}"] = gate.rule
    return found


def _subjects(gate: Gate, shape: Shape, known: Sequence[Condition], signals: Sequence[str]) -> Iterator[str]:
    if gate.signal is not None:
        (name,) = _signals([call_of(gate.signal)])
        yield f"signals.{_among(name, signals, 'signal', 'signals.use')}"
    elif gate.condition is None:
        yield gate.subject
    else:
        names = [condition.name for condition in known]
        for name in _conditions(gate.condition, shape, known):
            yield _among(name, names, "condition", "conditions.use")


def _conditions(text: str, shape: Shape, known: Sequence[Condition]) -> list[str]:
    """One condition, each value of a list, or every condition of a family."""
    named = [condition.name for condition in known if text == condition.name]
    family = [condition.name for condition in known if text == condition.name.partition("(")[0]]
    return named or family or [each.name for each in conditions([text], shape) if each.kind != "clean"]


def _among(name: str, known: Sequence[str], kind: str, where: str) -> str:
    if name in known:
        return name
    nearest = get_close_matches(name, known, n=1, cutoff=0.0)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise UnknownNameError(
        f"a gate asks about the {kind} {name!r}, which the plan has not.{hint} Or add it to {where}."
    )


def with_error_direction(plan: Plan, classes: Sequence[str]) -> Plan:
    """The plan with its positive class and prevalence in one spelling.

    Raises:
        InputError: a class that is none, a prevalence that is no share, or a cost of another form.
    """
    read_costs(plan.costs, classes)
    positive, prevalence = plan.data.positive, plan.data.prevalence
    if prevalence is not None:
        positive, share = read_prevalence(prevalence, positive)
        prevalence = f"positive={share:.8g}"
    if positive is not None:
        check_positive(positive, classes)
    data = plan.data.model_copy(update={"positive": positive, "prevalence": prevalence})
    return plan.model_copy(update={"data": data})
