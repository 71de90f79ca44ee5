"""The usual plan, made smaller for large models: by counted multiply-adds and rows, never by a clock."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from demur.data import Source
from demur.pipeline.plan.conditions import Condition
from demur.pipeline.plan.plan_file import Plan
from demur.pipeline.plan.strata_bound import DRAWN_ALIKE, StrataBound, hashed_test_rows, listed_test_rows
from demur.proofs import HALVINGS
from demur.registry import call_of
from demur.splits import SHARES, shares_of

LARGE = 200_000_000
"""Multiply-adds of one image from which on the usual plan is made smaller."""

BUDGET = 2_500_000_000_000
"""Multiply-adds that the usual plan may take of a large model: minutes on two cores."""

_TRIAL = 25
_TRIED = 48
_GUARD, _GUARD_STEP = 80, 30
_NORMS = 40
_BOUND = 2
_PREFLIGHT = 512

CHECKS = "checks of model and data"


@dataclass(frozen=True, kw_only=True)
class Effort:
    """What is known of the cost of a plan beforehand.

    Attributes:
        multiply_adds: of one image.
        rows: how many images there are.
        passes: of one image, for the signals.
        guard_passes: of one image, for those of the guard.
        strata: what strata may make of samples; by default rows are drawn alike.
        test_rows: how many rows are in the test split, or about; by default as many as usual splits of a set of the
            same size have.
    """

    rows: int
    multiply_adds: int = 1
    passes: float = 0.0
    guard_passes: float = 0.0
    strata: StrataBound = DRAWN_ALIKE
    test_rows: int | None = None

    @classmethod
    def before(cls, source: Source, plan: Plan, **known: Any) -> "Effort":
        """What can be told of a plan before an image is read, and what else is `known` of its cost."""
        rows = min(len(source), plan.data.limit or len(source))
        listed = listed_test_rows(source)
        tested = hashed_test_rows(source, rows) if listed is None else listed
        return cls(rows=rows, strata=StrataBound.of(plan.conditions, source), test_rows=tested, **known)

    @property
    def attackable(self) -> int:
        """How many of the rows may be attacked: those of the test split, or all where there is none.

        A bound where the user's own split says which they are, and where it is by hash, one that hardly ever fails.
        """
        return min(self.rows, self._tested or self.rows)

    @property
    def _tested(self) -> int:
        return ceil(self.rows * shares_of(self.rows)["test"]) if self.test_rows is None else self.test_rows

    def attacked(self, plan: Plan) -> int:
        """How many rows an attack is measured on at most, those that strata bring among them."""
        splits = 1 if self._tested else 2  # tune and certify, where nothing is tested
        return self.strata.most(plan.conditions.attacked, self.attackable, splits)

    def corrupted(self, plan: Plan) -> int:
        """The same of a corruption."""
        asked = plan.conditions.corrupted
        return self.rows if asked is None else self.strata.most(asked, self.rows, len(SHARES))

    def growths(self, plan: Plan, conditions: Sequence[Condition]) -> Iterator[str]:
        """What is to be said of samples that strata may make much larger, as far as that is known."""
        kinds, asked = {condition.kind for condition in conditions}, plan.conditions
        if "attack" in kinds:
            yield from self.strata.growth("conditions.attacked", asked.attacked, self.attacked(plan), self.attackable)
        if "corruption" in kinds and asked.corrupted is not None:
            yield from self.strata.growth("conditions.corrupted", asked.corrupted, self.corrupted(plan), self.rows)

    def of(self, plan: Plan, conditions: Sequence[Condition]) -> int:
        """Multiply-adds of a plan, at most; a backward pass costs about as much as a forward."""
        passes = sum(self._passes(each, plan) for each in conditions)
        return round((passes + sum(self.other_passes(plan, conditions).values())) * self.multiply_adds)

    def other_passes(self, plan: Plan, conditions: Sequence[Condition]) -> dict[str, float]:
        """Passes of what is no row of a condition, at most, by what it is; nothing where the plan does without."""
        attacked = min(plan.conditions.attacked, self.attackable)
        longest = max((_steps(each) for each in conditions if _is_plain(each)), default=0)
        tried = min(attacked, _TRIED) if any(each.kind == "attack" for each in conditions) else 0
        smoothing = plan.smoothing
        found = {
            CHECKS: 2.0 * min(self.rows, _PREFLIGHT),
            "trials of the measurement": float(tried * (_TRIAL + 2 * (1 + 2 * longest))),
            "norms": float(_NORMS * min(plan.lipschitz.images or 0, self.rows)),
            "proofs": float(_bounds(plan, conditions) * min(plan.proof.images or 0, self.attackable)),
            "smoothing": 0.0
            if smoothing is None
            else float((smoothing.selection + smoothing.samples) * min(smoothing.images, attacked)),
            "attacks on the guard": self._guarded(plan),
        }
        return {name: passes for name, passes in found.items() if passes}

    def _guarded(self, plan: Plan) -> float:
        """Passes of the attacks on the guard at all of their sizes: of a search for the least change, and of steps."""
        given = plan.guard_attack
        own = (_GUARD + _GUARD_STEP * given.steps * given.restarts) * max(1, len(given.eps))
        return min(given.images or 0, self.attackable) * own * (1 + self.guard_passes)

    def _passes(self, condition: Condition, plan: Plan) -> float:
        own = 1 + 2 * (_steps(condition) + (0 if condition.map is None else condition.map.gradients))
        match condition.kind:
            case "attack":
                return self.attacked(plan) * (own + self.passes)
            case "epsilon" if condition.region is None:
                return min(plan.epsilon.images, self.rows) * own
            case "epsilon" | "map" | "intervention":
                return min(plan.attribution.images, self.rows) * own
            case "corruption":
                return self.corrupted(plan) * (own + self.passes)
            case _:
                return self.rows * (own + self.passes)


def _bounds(plan: Plan, conditions: Sequence[Condition]) -> int:
    """Passes that a proof takes of one image: bounds of two passes each, at every size and while the size is halved."""
    sizes = plan.proof.eps or {each.severity for each in conditions if each.kind == "attack" and each.norm == "linf"}
    return _BOUND * (len(sizes) + 1 + HALVINGS)


def _steps(condition: Condition) -> int:
    return 0 if condition.attack is None else condition.attack.steps * condition.attack.restarts


def _is_plain(condition: Condition) -> bool:
    return condition.attack is not None and condition.attack.ascent == "many steps" and condition.kind == "attack"


@dataclass(frozen=True)
class Change:
    """Something that is left out of a plan.

    Attributes:
        subject: what it is about; of several changes of one subject the last is told.
        words: what is left out.
        without: the plan without it.
    """

    subject: str
    words: str
    without: Callable[[Plan], Plan]


@dataclass(frozen=True, kw_only=True)
class Sizing:
    """How much smaller the usual plan was made.

    Attributes:
        multiply_adds: of one image.
        usual: of the usual plan.
        budget: what it may take.
        left_out: what it does without, in words.
    """

    multiply_adds: int
    usual: int
    budget: int
    left_out: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What was done, and why."""
        return (
            f"the usual plan would take {self.usual:.1e} multiply-adds, {self.multiply_adds:,} for one image, and "
            f"{self.budget:.1e} is the most that it may; left out: {'; '.join(self.left_out)}. A plan that names "
            "conditions is measured whole"
        )


def smaller(declared: Plan) -> Iterator[Change]:
    """What is left out of the usual plan one after the other until it is small enough, the dearest first.

    Args:
        declared: the plan as it was given; what it says itself stays.
    """
    attacks = "attacked" not in declared.conditions.model_fields_set
    if declared.guard_attack.images is None:
        yield _cut("guard", "attacks on the guard", "guard_attack", images=0)
    if attacks:
        yield _attacked(256)
    if "images" not in declared.epsilon.model_fields_set:
        yield _cut("perturbations", "minimal perturbations of more than 128 images", "epsilon", images=128)
    if "images" not in declared.attribution.model_fields_set:
        yield _cut("maps", "attribution maps of more than 128 images", "attribution", images=128)
    yield Change("ensemble", "the ensemble of attacks, so that robust accuracy is that of PGD", _without_ensemble)
    yield from _whole_sections(declared)
    yield Change("severities", "corruptions at severities 2 and 4", _without_severities(2, 4))
    if attacks:
        yield from map(_attacked, (128, 64, 32, 24, 16))
    yield Change("severities", "corruptions at severities other than 3", _without_severities(1, 2, 4, 5))


def _whole_sections(declared: Plan) -> Iterator[Change]:
    if declared.attribution.regions is None:
        yield _cut("regions", "occlusions, and perturbations of the object", "attribution", regions=(), occlude=())
    if declared.lipschitz.images is None:
        yield _cut("norms", "norms", "lipschitz", images=0)
    if declared.proof.images is None:
        yield _cut("proofs", "proofs", "proof", images=0)
    if declared.epsilon.use is None:
        yield _cut("perturbations", "minimal perturbations", "epsilon", use=())
    if declared.attribution.maps is None:
        yield _cut("maps", "attribution maps", "attribution", maps=())


def _attacked(count: int) -> Change:
    return _cut("attacks", f"attacks on more than {count} images", "conditions", attacked=count)


def _cut(subject: str, words: str, section: str, **values: object) -> Change:
    return Change(subject, words, _changing(section, **values))


def _changing(section: str, **values: object) -> Callable[[Plan], Plan]:
    """A plan with other values in one of its tables."""
    return lambda plan: plan.model_copy(update={section: getattr(plan, section).model_copy(update=values)})


def _without_ensemble(plan: Plan) -> Plan:
    return _using(plan, [text for text in plan.conditions.use if call_of(text).name != "ensemble"])


def _without_severities(*severities: int) -> Callable[[Plan], Plan]:
    return lambda plan: _using(
        plan, [text for text in plan.conditions.use if call_of(text).fields.get("severity") not in severities]
    )


def _using(plan: Plan, names: Sequence[str]) -> Plan:
    """The plan with some of its conditions alone, and those that a gate is about."""
    kept = [
        text for text in plan.conditions.use if text in names or any(key.startswith(f"{text}.") for key in plan.gates)
    ]
    return _changing("conditions", use=tuple(kept))(plan)
