"""What each JSON file of a run folder holds: keys and types that the analysis goes by; more keys are allowed."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from demur.analysis.guard_shapes import GUARD_SHAPES
from demur.analysis.json_shape import Count, Least, Level, Name, Picture, Sha256, Shape, ShardName
from demur.analysis.picture_shapes import CorruptionsShape, OverlayShape, PicturesShape, PreprocessingShape
from demur.analysis.proof_shapes import PROOF_SHAPES
from demur.analysis.signal_shapes import BenchShape, FitShape, PlannedShape, SpentShape, TimesShape
from demur.analysis.trial_shapes import TrialsShape
from demur.errors import RunError
from demur.files import read_json
from demur.records import SCHEMA_VERSION


class ShardShape(Shape):
    """One entry of `manifest.json`."""

    shard: ShardName
    condition: Name
    rows: Count
    sha256: Sha256
    parts: Sha256 | None = None


class ConditionShape(Shape):
    """What `run.json` says of a condition."""

    name: Name
    family: Name
    kind: Literal["clean", "attack", "corruption", "unknown", "epsilon", "map", "intervention"]
    severity: float
    sentence: str
    keep: str | None
    norm: str | None
    title: Name | None = None
    heading: Name | None = None
    level: Name | None = None
    points: Name | None = None
    target: str | None = None
    unlimited: bool = False
    attack: dict[str, Any] | None = None
    rows: Count | None = None
    layer: Name | None = None
    design: dict[str, Any] | None = None


class SignalShape(Shape):
    """What `run.json` says of a signal."""

    name: Name
    unit: str
    sentence: str


class FlagShape(Shape):
    """What `run.json` says of a bit of `flags`."""

    bit: Count
    name: str
    sentence: str


class UnknownShape(Shape):
    """What `run.json` says of the images of none of the classes."""

    address: str
    images: Count
    sha256: Sha256
    groups: Count | None
    shared_classes: list[str]
    shared_images: Count


class SizingShape(Shape):
    """What the usual plan did without, for the size of the model."""

    multiply_adds: Count
    usual: Count
    budget: Count
    left_out: list[str]


class RunShape(Shape):
    """`run.json`."""

    model: str
    model_sha256: str
    parameters: Count
    gradient_fault: str = ""
    input_shape: Annotated[list[Count], Field(min_length=3, max_length=3)]
    classes: Annotated[list[str], Field(min_length=2)]
    data: str
    data_sha256: str
    splits: dict[Literal["fit", "tune", "certify", "test"], Count]
    duplicates: Count
    excluded: Count = 0
    groups: Count | None
    attacked: Count
    plan_sha256: str
    seed: int
    versions: dict[str, str]
    conditions: Annotated[list[ConditionShape], Field(min_length=1)]
    signals: list[SignalShape]
    flags: list[FlagShape] = Field(default_factory=list)
    unknown: UnknownShape | None = None
    preprocessing: list[str] = Field(default_factory=list)
    sizing: SizingShape | None = None


class CheckShape(Shape):
    """A check before the measurement."""

    name: str
    state: Level
    sentence: str
    count: Count | None = None
    of: Count | None = None


class LookShape(Shape):
    """Which look at the certify labels a refusal was."""

    number: Least
    counted: Literal["runs", "folder", "ledger", "caller", "nowhere"]


class RefusalShape(Shape):
    """Why nothing was guaranteed."""

    reason: str
    risk: float
    delta: float
    look: LookShape


class PolicyFitShape(Shape):
    """What a fitted policy does to the tune rows."""

    negatives: Count
    positives: Count
    fpr: float
    recall: float | None
    sentence: str


class PolicyShape(Shape):
    """A policy of the plan, fitted or refused.

    One that follows from tune rows alone says how it was fitted (`fit`), why it could not be (`unfitted`), or what it
    `awaits`; it is then in `late_policies.json`.
    """

    name: Name
    signal: str | None = None
    policy: dict[str, Any] | None = None
    refusal: RefusalShape | None = None
    average_loss: dict[str, Any] | None = None
    fit: PolicyFitShape | None = None
    unfitted: str | None = None
    awaits: str | None = None


class ToleranceShape(Shape):
    """How far the scores of a signal may move."""

    name: Name
    tolerance: dict[Literal["edges", "widths", "relative"], Any]
    ways: list[str]
    refused: dict[str, str]


class ForeignShape(Shape):
    """Images of none of the classes that are audited ones."""

    images: Count
    of: Count
    drawn_from: Count | None = None
    examples: list[list[str]]


class NearDuplicatesShape(Shape):
    """`facts/near_duplicates.json`."""

    pairs: Count
    judging: Literal["test", "certify"]
    images: Count
    of: Count
    drawn_from: Count | None = None
    copies: Count
    unknown: ForeignShape | None = None


class NeighboursShape(Shape):
    """`facts/neighbours.json`."""

    images: Count
    pairs: Count
    alike: Count
    p_value: float | None
    times: Count
    bursts: Count
    series: Count
    largest: Count
    pattern: str | None


class SuspectShape(Shape):
    """An image of `facts/suspects.json`."""

    sample_id: str
    suggestion: Count


class CurveShape(Shape):
    """One ray of `facts/curves.json`."""

    condition: Name
    eps: list[float]
    sample_ids: list[str]
    confidence: list[list[float]]
    standing: list[list[bool]]


class SanityShape(Shape):
    """One map of `facts/sanity.json`."""

    map: Name
    sample_ids: list[str]
    correlation: list[float | None]
    limit: float


REQUIRED: Mapping[str, Any] = {
    "run.json": RunShape,
    "manifest.json": list[ShardShape],
}
FACTS: Mapping[str, Any] = {
    "facts/policies.json": list[PolicyShape],
    "facts/signals.json": list[FitShape],
    "facts/late_policies.json": list[PolicyShape],
    "facts/preflight.json": list[CheckShape],
    "facts/tolerances.json": list[ToleranceShape],
    "facts/gallery.json": list[str],
    "facts/suspects.json": list[SuspectShape],
    "facts/near_duplicates.json": NearDuplicatesShape,
    "facts/neighbours.json": NeighboursShape,
    "facts/trials.json": TrialsShape,
    "facts/preprocessing.json": PreprocessingShape,
    "facts/curves.json": list[CurveShape],
    "facts/sanity.json": list[SanityShape],
    "facts/overlays.json": dict[str, list[OverlayShape]],
    **PROOF_SHAPES,
    **GUARD_SHAPES,
    "facts/corruptions.json": CorruptionsShape,
    "facts/severities.json": dict[Name, Picture],
    "facts/pictures.json": PicturesShape,
    "timings/signals.json": TimesShape,
    "timings/bench.json": BenchShape,
    "timings/planned.json": PlannedShape,
    "timings/spent.json": SpentShape,
}


def check_shapes(run: Path, known: Iterable[str] | None = None) -> None:
    """Refuse a run folder one of whose JSON files is not of the shape that the analysis goes by.

    Args:
        run: the folder.
        known: the files that belong to the run; others are not read. None: all that are there.

    Raises:
        RunError: a file is missing, of a newer schema, or not of its shape; the place in it is named.
    """
    _check_version(run)
    belonging = None if known is None else set(known)
    for name, shape in {**REQUIRED, **FACTS}.items():
        if name in REQUIRED or ((run / name).exists() if belonging is None else name in belonging):
            check_shape(run / name, shape)


def check_shape(path: Path, shape: Any) -> None:
    """Refuse one file that is not of its shape."""
    try:
        TypeAdapter(shape).validate_python(read_json(path), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise RunError(
            f"{path}: {place} must be as the audit writes it ({first['msg'][:1].lower()}{first['msg'][1:]}); got "
            f"{_short(first['input'])}. Run the same audit again, or bring the file back."
        ) from None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _check_version(run: Path) -> None:
    facts = read_json(run / "run.json")
    version = facts.get("schema_version") if isinstance(facts, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise RunError(
            f"{run / 'run.json'} is of schema {version}; this version of demur reads {SCHEMA_VERSION} and older. "
            "Install the version that wrote it, or a newer one."
        )
