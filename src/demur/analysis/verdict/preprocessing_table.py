"""Whether another preprocessing of the same images fits the model better, variant by variant, and the check of it."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np

from demur.analysis.quantity import Number, Quantity, Table
from demur.analysis.run_folder import Run
from demur.analysis.verdict.verdict_tables import Check
from demur.metrics import proportion
from demur.metrics.paired_gains import GROSS, Answers, Gain, gains
from demur.records import groups

Outcome = Literal["fault", "likely fault", "shift", "better", "no better"]


class VariantRow(Table):
    """One variant of preprocessing against the declared one, on the images that both were asked about.

    `right` is the share right under the variant, `accuracy` what it gains, with an interval that holds for all variants
    at once; `loss` is the mean by which the log-loss falls (nats), with a 95 % interval of its own, `p_value` that of
    the log-losses after Holm. `detectable` is the smallest gain of accuracy that would have been told from none four
    times in five. A `shift` would be a fault, were it not for images that are darker, lighter or paler.
    """

    name: str
    remedy: str
    right: Quantity
    accuracy: Quantity
    loss: Quantity
    p_value: Number
    detectable: Number
    outcome: Outcome
    images: int
    stopped: bool


class PreprocessingTable(Table):
    """Tune images that were asked again under the usual mistakes of preprocessing, the best variant first.

    `right` is the share of them right as they are. `detectable` is the largest of the variants that were asked about
    all of them. `left_out` has the variants that the model cannot be asked about, and why.
    """

    images: int
    right: Quantity
    rows: tuple[VariantRow, ...]
    left_out: dict[str, str]
    detectable: Number

    @property
    def named(self) -> tuple[VariantRow, ...]:
        """The variants that are gross faults, surely or likely."""
        return tuple(row for row in self.rows if row.outcome in {"fault", "likely fault"})

    @property
    def first(self) -> VariantRow | None:
        """The one to be told of: a gross fault, unless what may be a shift gains 5 points more; None without either."""
        shift = next((row for row in self.rows if row.outcome == "shift"), None)
        fault = next(iter(self.named), None)
        if fault is None or shift is None:
            return fault or shift
        return shift if shift.accuracy.value >= fault.accuracy.value + GROSS else fault


def preprocessing_table(run: Run) -> PreprocessingTable | None:
    """Every variant judged; None where none was tried, as in runs of earlier versions."""
    facts = run.optional_facts("preprocessing")
    if facts is None or not facts["right"]:
        return None
    own, clusters = Answers.of(facts["right"], facts["losses"]), _clusters(run, facts["sample_ids"])
    tried = [each for each in facts["variants"] if each["fault"] is None]
    ways = [Answers.of(each["right"], each["losses"]) for each in tried]
    rows = [
        _row(each, way, gain, len(own.right), clusters)
        for each, way, gain in zip(tried, ways, gains(own, ways, clusters), strict=True)
    ]
    return PreprocessingTable(
        images=len(own.right),
        right=Quantity.of(proportion(own.right, clusters)),
        rows=tuple(sorted(rows, key=lambda row: (-row.accuracy.value, -row.loss.value))),
        left_out={each["name"]: each["fault"] for each in facts["variants"] if each["fault"] is not None},
        detectable=max((row.detectable for row in rows if not row.stopped), default=math.nan),
    )


def _row(each: Mapping[str, Any], way: Answers, gain: Gain, images: int, clusters: Any) -> VariantRow:
    rows = len(way.right)
    own = None if clusters is None else clusters[:rows]
    return VariantRow(
        name=each["name"],
        remedy=each["remedy"],
        right=Quantity.of(proportion(way.right, own)),
        accuracy=Quantity.of(gain.accuracy),
        loss=Quantity.of(gain.loss),
        p_value=gain.p_value,
        detectable=gain.detectable,
        outcome="shift" if each.get("adapted") and gain.is_gross else gain.outcome,
        images=rows,
        stopped=rows < images,
    )


def _clusters(run: Run, names: list[str]) -> Any:
    """The unit of independence of each image; None where no image of the run has a group."""
    rows = run.rows("clean")
    found = groups(rows)
    if found is None:
        return None
    of = dict(zip(rows["sample_id"].to_list(), found, strict=True))
    return np.array([of.get(name, f"image {name}") for name in names], object)


def preprocessing_checks(run: Run) -> Iterator[Check]:
    """The gross fault that fits best, named with the option that mends it; else what the probe could have seen."""
    found = preprocessing_table(run)
    if found is None:
        return
    first, surely = found.first, any(row.outcome == "fault" for row in found.named)
    yield Check(
        name="preprocessing is as in training",
        state="pass" if first is None else "fail" if surely else "warn",
        sentence=_power(found) if first is None else _shift(first) if first.outcome == "shift" else _fault(first),
        count=0 if first is None else None,
        of=len(found.rows) if first is None else None,
    )


def _fault(row: VariantRow) -> str:
    sure = "far more" if row.outcome == "fault" else "probably more"
    return (
        f"The model is right on {sure} of the tune images with another preprocessing, {row.name}: {_numbers(row)}. "
        f"{row.remedy[:1].upper()}{row.remedy[1:]}; if the images are meant to be so, set checks.preprocessing = 0"
    )


def _shift(row: VariantRow) -> str:
    return (
        f"The model is right on more of the tune images with another scale of pixels, {row.name}: {_numbers(row)}. "
        "Either they are darker, lighter or paler than the images of training, or it is a fault of preprocessing: "
        f"{row.remedy}"
    )


def _numbers(row: VariantRow) -> str:
    before = row.right.value - row.accuracy.value
    unit = "" if row.right.unit == "image" else f" in {row.right.n:,} groups"
    return (
        f"{100 * row.right.value:.0f} % instead of {100 * before:.0f} % of {row.images:,}{unit} (a gain of "
        f"{100 * row.accuracy.low:.0f} to {100 * row.accuracy.high:.0f} points, all variants considered)"
    )


def _power(found: PreprocessingTable) -> str:
    power = (
        ""
        if math.isnan(found.detectable)
        else f"; one that costs {100 * found.detectable:.1f} points would have been told from none four times in five"
    )
    return (
        f"Usual mistakes of preprocessing whose mending gains {100 * GROSS:.0f} points of accuracy on {found.images:,} "
        f"tune images{power}; others than these are not tried"
    )
