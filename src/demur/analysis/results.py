"""What an audit found, as typed tables: the content of `results.json` and all that a report may show.

Shares and risks are fractions in [0, 1]; eps and distances are fractions of the [0, 1] pixel range; scores are
"higher = more uncertainty". An undefined number is null in JSON and its `reason` says why.
"""

import webbrowser
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr

from demur.analysis.accuracy.chart_data import CalibrationTable, GalleryImage, Histogram, RiskCoverage
from demur.analysis.accuracy.confusions import Confusions
from demur.analysis.accuracy.coverage_steps import CoverageLoss
from demur.analysis.accuracy.error_direction import Cost, ErrorDirection
from demur.analysis.accuracy.label_quality import LabelQuality
from demur.analysis.accuracy.overall import ClassRow, ConditionRow, CorruptionMap, WorstClass
from demur.analysis.accuracy.slices import SliceRow
from demur.analysis.accuracy.team_cost import Team
from demur.analysis.accuracy.unknown_answers import UnknownAnswers
from demur.analysis.accuracy.wrong_labels import WrongLabels
from demur.analysis.attribution.region_tables import Attribution
from demur.analysis.attribution.trust_components import TrustComponents
from demur.analysis.effort_table import Effort
from demur.analysis.figures.figure_tables import FigureTables
from demur.analysis.quantity import Number, Quantity, Table
from demur.analysis.robustness.attack_tables import AttackRow
from demur.analysis.robustness.guard_attack_tables import GuardAttack
from demur.analysis.robustness.lipschitz_tables import Lipschitz
from demur.analysis.robustness.manipulation import Manipulation
from demur.analysis.robustness.minimal_perturbation import MinimalPerturbation
from demur.analysis.robustness.proven_answers import Proof
from demur.analysis.robustness.robust_accuracy import Robustness
from demur.analysis.robustness.smoothed_answers import Smoothed
from demur.analysis.signals.attack_detection import AttackDetection
from demur.analysis.signals.class_profiles import ClassMapTable
from demur.analysis.signals.components import PartRow, Roc
from demur.analysis.signals.decision_tables import PolicyFitRow, PolicyRow, Rejection
from demur.analysis.signals.layer_fusion import LayerFusion
from demur.analysis.signals.overhead_tables import Overhead
from demur.analysis.signals.ranking_targets import Contest
from demur.analysis.signals.signal_ranking import SignalRow
from demur.analysis.verdict.breaking_points import WhatBreaks
from demur.analysis.verdict.guarantees import AverageLossRow, GuaranteeRow
from demur.analysis.verdict.imbalance import ConstantAnswer, PositiveBound
from demur.analysis.verdict.label_needs import LabelNeed
from demur.analysis.verdict.masking import Masking
from demur.analysis.verdict.preprocessing_table import PreprocessingTable
from demur.analysis.verdict.verdict import Guarantee, RefusalTable, State
from demur.analysis.verdict.verdict_tables import Bearing, Check, GateRow, LabelAccess
from demur.errors import RunError
from demur.seal import changed, is_intact, read_seal

_LARGE = 1_000_000


class Provenance(Table):
    """How the run was made.

    `left_out` is what the usual plan did without for the size of the model, of so many `multiply_adds` for one image.
    """

    model: str
    model_sha256: str
    parameters: int
    input_shape: tuple[int, int, int]
    data: str
    data_sha256: str
    splits: dict[str, int]
    duplicates: int
    excluded_samples: int = 0
    groups: int | None
    independence: str
    failed_samples: int
    attacked_samples: int
    plan_sha256: str
    gates_sha256: str | None = None
    plan_toml: str
    seed: int
    versions: dict[str, str]
    start_time: str
    seconds: float
    forwards: int
    backwards: int
    trial_passes: int = 0
    preprocessing: tuple[str, ...] = ()
    multiply_adds: int | None = None
    left_out: tuple[str, ...] = ()


USUAL_RISK = 0.02
"""Where a plan names no share of wrong answers that is acceptable."""


class ConditionTitle(Table):
    """What a condition is called in tables: all of it, its family and its size; null `level` where it has none.

    `points` is what the points kept of an attack are called where they are not of the size at which it is judged.
    """

    title: str
    heading: str
    level: str | None = None
    points: str | None = None


class Aggregates(Table):
    """How results of more rows than are held came about: counted over all of them, or worked out on a sample.

    Of `rows` rows of `images` clean images, `sampled` clean ones and as many corrupted ones of each condition as
    `sampled_corrupted` says (null without corruptions) are the sample; each table has its own `n`. Of the `weighted`
    rows of conditions drawn by strata `sampled_weighted` stand for all; null where none was. Scores were counted
    in at most so many `cells` by signal; `slack` says how far each kind of number read off them may be from that of the
    rows themselves, and `signal_slack` how far by signal.
    """

    rows: int
    images: int
    sampled: int
    sampled_corrupted: int | None
    weighted: int | None = None
    sampled_weighted: int | None = None
    cells: int
    slack: dict[str, float]
    signal_slack: dict[str, dict[str, float]]


class Results(Table):
    """Everything the report may show.

    `titles` are the short names of conditions; runs of earlier versions have none.
    `severity_thumbs` are pictures of one test image under conditions, by their names. `effort` is on the page alone:
    it differs from run to run, and results do not.
    """

    schema_version: Literal[1] = 1
    state: State
    provenance: Provenance
    classes: tuple[str, ...]
    accuracy: Quantity
    test_accuracy: Quantity
    guarantee: Guarantee | None
    refusal: RefusalTable | None
    worst_class: WorstClass | None
    conditions: tuple[ConditionRow, ...]
    manipulation: Manipulation | None
    out_of_scope: tuple[str, ...]
    void_when: tuple[str, ...]
    checks: tuple[Check, ...]
    next_step: str
    signals: tuple[SignalRow, ...]
    curves: tuple[RiskCoverage, ...]
    oracle: RiskCoverage | None
    random_risk: Number
    histograms: tuple[Histogram, ...]
    calibration: CalibrationTable
    per_class: tuple[ClassRow, ...]
    confusion: tuple[tuple[int, ...], ...]
    policies: tuple[PolicyRow, ...]
    policy_fits: tuple[PolicyFitRow, ...] = ()
    gallery: tuple[GalleryImage, ...]
    purpose: dict[str, Any]
    gates: tuple[GateRow, ...] = ()
    preprocessing: PreprocessingTable | None = None
    label_access: LabelAccess | None = None
    direction: ErrorDirection | None = None
    cost: Cost | None = None
    slices: tuple[SliceRow, ...] = ()
    worst_slice: SliceRow | None = None
    label_quality: LabelQuality | None = None
    wrong_labels: WrongLabels | None = None
    attacks: tuple[AttackRow, ...] = ()
    robustness: tuple[Robustness, ...] = ()
    contests: tuple[Contest, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    corruption_map: CorruptionMap | None = None
    parts: tuple[PartRow, ...] = ()
    rocs: tuple[Roc, ...] = ()
    detections: tuple[AttackDetection, ...] = ()
    fusions: tuple[LayerFusion, ...] = ()
    class_maps: tuple[ClassMapTable, ...] = ()
    epsilon: tuple[MinimalPerturbation, ...] = ()
    attribution: Attribution | None = None
    trust: TrustComponents | None = None
    lipschitz: Lipschitz | None = None
    proof: Proof | None = None
    smoothed: Smoothed | None = None
    guard_attack: GuardAttack | None = None
    guarantees: tuple[GuaranteeRow, ...] = ()
    average_loss: AverageLossRow | None = None
    unknown: UnknownAnswers | None = None
    constant: ConstantAnswer | None = None
    positive: PositiveBound | None = None
    coverage_loss: CoverageLoss | None = None
    team: Team | None = None
    titles: dict[str, ConditionTitle] = Field(default_factory=dict)
    breaks: WhatBreaks | None = None
    severity_thumbs: dict[str, str] = Field(default_factory=dict)
    confusions: Confusions | None = None
    label_needs: tuple[LabelNeed, ...] = ()
    figures: FigureTables | None = None
    overhead: Overhead | None = None
    masking: Masking | None = None
    effort: Effort | None = Field(default=None, exclude=True)
    aggregates: Aggregates | None = Field(default=None, exclude_if=lambda found: found is None)

    _folder: Path | None = PrivateAttr(default=None)

    @property
    def stated_risk(self) -> float:
        """The share of wrong answers that signals are compared at: the one asked for, else 2 %."""
        found = self.guarantee or self.refusal
        return found.risk if found else USUAL_RISK

    def void(self, figures: Bearing) -> str | None:
        """Why no figure of a kind is to be used: which checks of it failed; None where none did."""
        failed = [check.name for check in self.checks if check.state == "fail" and check.bears_on == figures]
        return f"failed its checks: {', '.join(failed)}" if failed else None

    def require_certificate(self) -> None:
        """Refuse results without a certificate that says anything, with what to do now.

        Raises:
            RunError: none was issued, a check of the measurement failed, or a constant answer would have the same one.
        """
        if self.state != "issued":
            report = "" if self._folder is None else f" Report: {self._folder / 'report.html'}"
            why = self.state.replace("_", " ")
            raise RunError(f"there is no certificate that a guard could keep ({why}). {self.next_step}{report}")

    @property
    def text(self) -> str:
        """The content of `results.json`: a number a line, or all in one line where it is large."""
        spaced = self.model_dump_json(indent=1)
        return (spaced if len(spaced) <= _LARGE else self.model_dump_json()) + "\n"

    @property
    def is_large(self) -> bool:
        """Whether it would be more than a megabyte, which the page does not repeat."""
        return len(self.model_dump_json(indent=1)) > _LARGE

    @property
    def folder(self) -> Path | None:
        """The run folder these results were worked out from; None for results made by hand."""
        return self._folder

    def of_folder(self, folder: Path) -> "Results":
        """The same results, which know their run folder."""
        found = self.model_copy()
        found._folder = folder  # noqa: SLF001 - its own
        return found

    def open(self) -> Path:
        """Show the report in a browser, and say where it is.

        Raises:
            RunError: these results have no report, or it was changed since it was drawn.
        """
        page = None if self._folder is None else self._folder / "report.html"
        if page is None or not page.exists():
            raise RunError(
                "these results have no report.html to open. Run demur.audit, or demur report on the run folder."
            )
        if "report.html" in (read_seal(page.parent) or {}) and not is_intact(page.parent, page.name):
            raise changed(page.parent, page.name)
        webbrowser.open(page.resolve().as_uri())
        return page
