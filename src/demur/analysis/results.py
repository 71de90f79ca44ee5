"""What an audit found, as typed tables: the content of `results.json` and all that a report may show.

Shares and risks are fractions in [0, 1]; eps and distances are fractions of the [0, 1] pixel range; scores are
"higher = more doubt". An undefined number is null in JSON and its `reason` says why.
"""

from typing import Any, Literal

from demur.analysis.accepted import GateRow as GateRow
from demur.analysis.accepted import Opened as Opened
from demur.analysis.attacked import AttackRow as AttackRow
from demur.analysis.attacked import Robustness as Robustness
from demur.analysis.lipschitz_tables import Lipschitz
from demur.analysis.looked import Where
from demur.analysis.promised import Promise as Promise
from demur.analysis.promised import Refusal as Refusal
from demur.analysis.scored import Contest as Contest
from demur.analysis.scored import CorruptionMap as CorruptionMap
from demur.analysis.scored import PartRow as PartRow
from demur.analysis.scored import Rejection as Rejection
from demur.analysis.scored import Roc as Roc
from demur.analysis.scored import SignalRow as SignalRow
from demur.analysis.scored import TargetRow as TargetRow
from demur.analysis.searched import Search
from demur.analysis.table import Number as Number
from demur.analysis.table import Quantity as Quantity
from demur.analysis.table import Table as Table
from demur.analysis.trust_tables import Trust

State = Literal["issued", "too_few_labels", "model_too_weak", "measurement_failed", "undeclared"]


class Provenance(Table):
    """How the run was made."""

    model: str
    model_sha256: str
    parameters: int
    input_shape: tuple[int, int, int]
    data: str
    data_sha256: str
    roles: dict[str, int]
    duplicates: int
    excluded: int = 0
    groups: int | None
    independence: str
    failed_samples: int
    attacked: int
    plan_sha256: str
    gates_sha256: str | None = None
    plan_toml: str
    seed: int
    versions: dict[str, str]
    started: str
    seconds: float
    forwards: int
    backwards: int
    trial_passes: int = 0


class ClassRow(Table):
    """One class: all of its clean test rows, and those the guard lets through."""

    name: str
    n: int
    accuracy: Quantity
    coverage: Quantity | None
    risk: Quantity | None


class ConditionRow(Table):
    """One condition at the frozen threshold. `holds`: the promised risk is kept (null without a promise)."""

    condition: str
    family: str
    kind: Literal["clean", "attack", "corruption"]
    sentence: str
    severity: float
    n: int
    accuracy: Quantity
    answered: int | None
    answered_wrong: int | None
    coverage: Quantity | None
    risk: Quantity | None
    holds: bool | None
    forwards: int
    backwards: int


class Manipulation(Table):
    """Deliberate manipulation on one screen: null where no attack ran.

    `eps` and `robust_accuracy` are null where no attack has a stated size, `answered_wrong` where none of that size
    keeps its worst point.
    """

    norm: str
    median_distance: Quantity
    eps: float | None
    attacked: int
    answered_wrong: int | None
    robust_accuracy: Quantity | None
    sentence: str


class Check(Table):
    """One check of the measurement itself."""

    name: str
    state: Literal["pass", "warn", "fail"]
    sentence: str
    count: int | None = None
    of: int | None = None


class CurvePoint(Table):
    """One threshold of a risk-coverage curve: accept where doubt ≤ threshold."""

    threshold: float
    coverage: float
    risk: float


class Curve(Table):
    """A risk-coverage curve over clean test rows; at most 200 points."""

    signal: str
    points: tuple[CurvePoint, ...]


class Histogram(Table):
    """Scores of one signal by outcome; `edges` has one more entry than each of the counts."""

    signal: str
    edges: tuple[float, ...]
    right: tuple[int, ...]
    wrong: tuple[int, ...]
    corrupted: tuple[int, ...]
    attacked: tuple[int, ...]


class Bin(Table):
    """One bin of a reliability diagram."""

    low: float
    high: float
    n: int
    confidence: Number
    accuracy: Quantity


class Calibration(Table):
    """Confidence against accuracy on all clean held-out rows."""

    ece: Quantity
    nll: Quantity
    brier: Quantity
    bins: tuple[Bin, ...]


class PolicyRow(Table):
    """The failure table: what a policy flags under a condition (test rows)."""

    policy: str
    condition: str
    n: int
    accuracy: Quantity
    flagged: Quantity
    accuracy_unflagged: Quantity
    accuracy_flagged: Quantity
    errors_caught: Quantity
    balanced_accuracy: Quantity


class Picture(Table):
    """A confidently wrong image; `thumb` is a data URI or null."""

    sample_id: str
    label: str
    predicted: str
    confidence: float
    answered: bool | None
    thumb: str | None


class Side(Table):
    """The images on one side of a decision, and how many are taken for the other side.

    `taken` is of all `n` held-out images under the condition, every one answered, `test_taken` of the `test_n` test
    ones. With the guard, over test rows: `slipped` are answered and taken for the other side, `passed_on` are declined,
    both of all; `among_answered` is of the answered ones.
    """

    n: int
    taken: Quantity
    test_n: int
    test_taken: Quantity
    slipped: Quantity | None
    among_answered: Quantity | None
    passed_on: Quantity | None


class DirectionRow(Table):
    """One condition: positives that are missed (escapes), and the others that raise a false alarm (overkill)."""

    condition: str
    kind: Literal["clean", "attack", "corruption"]
    sentence: str
    missed: Side
    alarmed: Side


class AtPrevalence(Table):
    """What answers are worth when positives are as common as `prevalence` says, with or without the guard.

    `risk` is the share of wrong answers; `ppv` of the answers "positive" that are right, `npv` of the others.
    """

    guarded: bool
    prevalence: float
    ppv: Quantity
    npv: Quantity
    risk: Quantity


class Direction(Table):
    """Which way the model errs; the first row is the clean one. `measured` is the share of positives in these data."""

    positive: str
    others: str
    measured: Quantity
    rows: tuple[DirectionRow, ...]
    at: tuple[AtPrevalence, ...]


class Cost(Table):
    """Expected cost per clean test image: right answers cost nothing, other errors than those of `matrix` cost 1."""

    matrix: dict[str, float]
    unguarded: Quantity
    guarded: Quantity | None


class SliceRow(Table):
    """The clean images of which one thing is known: `accuracy` is over all held-out ones, the rest over test ones."""

    column: str
    value: str
    n: int
    accuracy: Quantity
    test_n: int
    test_accuracy: Quantity
    coverage: Quantity | None
    risk: Quantity | None


class SecondLabel(Table):
    """How far a second labeller agrees, and the results on the images where both do.

    `pairs` images have two labels, `n` of them twice the same; the promise is checked on those of the test split.
    """

    pairs: int
    agreement: Quantity
    kappa: Quantity
    n: int
    accuracy: Quantity
    auroc: Quantity
    answered: int | None
    answered_wrong: int | None
    risk: Quantity | None
    holds: bool | None


class LabelQuality(Table):
    """What is known of the labels themselves; `weighted_accuracy` counts an image by how sure its label is."""

    second: SecondLabel | None
    weighted: int
    weighted_accuracy: Quantity | None


class Results(Table):
    """Everything the report may show."""

    schema_version: Literal[1] = 1
    state: State
    provenance: Provenance
    classes: tuple[str, ...]
    accuracy: Quantity
    test_accuracy: Quantity
    promise: Promise | None
    refusal: Refusal | None
    worst_class: ClassRow | None
    conditions: tuple[ConditionRow, ...]
    manipulation: Manipulation | None
    not_covered: tuple[str, ...]
    lapses: tuple[str, ...]
    checks: tuple[Check, ...]
    next_step: str
    signals: tuple[SignalRow, ...]
    curves: tuple[Curve, ...]
    oracle: Curve | None
    random_risk: Number
    histograms: tuple[Histogram, ...]
    calibration: Calibration
    per_class: tuple[ClassRow, ...]
    confusion: tuple[tuple[int, ...], ...]
    policies: tuple[PolicyRow, ...]
    gallery: tuple[Picture, ...]
    purpose: dict[str, Any]
    gates: tuple[GateRow, ...] = ()
    opened: Opened | None = None
    direction: Direction | None = None
    cost: Cost | None = None
    slices: tuple[SliceRow, ...] = ()
    worst_slice: SliceRow | None = None
    label_quality: LabelQuality | None = None
    attacks: tuple[AttackRow, ...] = ()
    robustness: tuple[Robustness, ...] = ()
    contests: tuple[Contest, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    corruption_map: CorruptionMap | None = None
    parts: tuple[PartRow, ...] = ()
    rocs: tuple[Roc, ...] = ()
    epsilon: tuple[Search, ...] = ()
    where: Where | None = None
    trust: Trust | None = None
    lipschitz: Lipschitz | None = None
