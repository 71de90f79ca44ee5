"""What the guard does: when it answers, how much goes to a person, what the check found, a hundred images."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from demur.analysis.results import Results
from demur.analysis.verdict.label_needs import LabelNeed
from demur.analysis.verdict.verdict import Guarantee
from demur.policies import ACCEPT_ALL
from demur.policies.second_threshold import Purpose
from demur.report.phrases import at_most, count, frequency, in_hundred, percent, plural, scale, significant
from demur.report.state_words import guarantee_holds

_LOAD = 1000
"""Images a day where the purpose declares no number."""


@dataclass(frozen=True, kw_only=True)
class HundredImages:
    """A hundred typical images, by outcome; `right + wrong + to_person == 100`.

    `of_answers` says how many of a hundred answers are wrong, where not every image is answered.
    """

    title: str
    right: int
    wrong: int
    to_person: int
    of_answers: str | None = None

    @property
    def sentence(self) -> str:
        """The picture in words."""
        abstained = f", {self.to_person} go to a person" if self.to_person else ""
        return f"{self.title}: of 100 images {self.right} are answered right, {self.wrong} wrong{abstained}."


def hundreds(results: Results, guarantee: Guarantee | None) -> tuple[HundredImages, ...]:
    """With the guard and without it; only without where none is judged."""
    bare = results.guarantee.risk_without_guard.value if results.guarantee else 1 - results.test_accuracy.value
    if math.isnan(bare) or results.state == "measurement_failed":
        return ()
    wrong = round(bare * 100)
    title = "Without the guard" if guarantee else "As it is"
    without = HundredImages(title=title, right=100 - wrong, wrong=wrong, to_person=0)
    if guarantee is None or not guarantee.test_n:
        return (without,)
    answered = round(guarantee.test_answers / guarantee.test_n * 100)
    missed = round(guarantee.test_wrong / guarantee.test_n * 100)
    share = guarantee.test_wrong / guarantee.test_answers if guarantee.test_answers else math.nan
    guarded = HundredImages(
        title="With the guard",
        right=answered - missed,
        wrong=missed,
        to_person=100 - answered,
        of_answers=None if math.isnan(share) else f"{in_hundred(share)} of 100 answers",
    )
    return (guarded, without)


def behaviour(results: Results, guarantee: Guarantee) -> str:
    """When it answers, how many images that are, and where the others go."""
    hands = str(results.purpose.get("abstentions_go_to") or "a person")
    if not guarantee.test_n:
        return _few_behaviour(guarantee, hands)
    coverage = guarantee.coverage.value
    base = scale(coverage)
    answered = round(coverage * base)
    verb = "goes" if base - answered == 1 else "go"
    return (
        f"It answers {_where(guarantee)}{count(answered)} of {count(base)} images; {count(base - answered)} {verb} to "
        f"{hands}."
    )


def load(results: Results, guarantee: Guarantee | None) -> str | None:
    """How many images go to a person in a day, at the load that the purpose declares, else of 1,000."""
    if guarantee is None or not guarantee.test_n:
        return None
    declared = results.purpose.get("images_per_day")
    images = declared if isinstance(declared, int) and declared > 0 else _LOAD
    return (
        f"Of {count(images)} images a day about {count(round(images * (1 - guarantee.coverage.value)))} go to a person."
    )


def _where(guarantee: Guarantee) -> str:
    """The rule by which it answers, where it is one threshold."""
    if guarantee.second is not None or guarantee.kind == "site" or guarantee.threshold is None:
        return ""
    if guarantee.threshold >= ACCEPT_ALL:
        return "whatever its uncertainty: "
    return f"where {guarantee.signal} uncertainty ≤ {significant(guarantee.threshold)}: "


_LOOKS: Mapping[Purpose, str] = {
    "attack": "does not look changed on purpose",
    "shift": "looks like those measured",
    "unknown": "looks like one of a class it knows",
}


def two_thresholds(guarantee: Guarantee) -> str | None:
    """Both thresholds, where there are two."""
    second = guarantee.second
    if second is None or guarantee.threshold is None:
        return None
    sure = f"it is sure enough ({guarantee.signal} at most {significant(guarantee.threshold)})"
    plain = f"the image {_LOOKS[second.purpose]} ({second.signal} at most {significant(second.threshold)})"
    if second.threshold >= ACCEPT_ALL:
        return f"Its second threshold, on {second.signal}, withholds nothing: so small a budget leaves it no other."
    if guarantee.threshold >= ACCEPT_ALL:
        return f"It answers, however sure it is, only if {plain}."
    return f"It answers only if {sure} and {plain}."


def _few_behaviour(guarantee: Guarantee, hands: str) -> str:
    """The same of the certify rows, where no others are left, and what more labels could bring."""
    abstained = guarantee.certify_n - guarantee.certify_answers
    verb = "goes" if abstained == 1 else "go"
    return (
        f"It answers {_where(guarantee)}{count(guarantee.certify_answers)} of {count(guarantee.certify_n)} labelled "
        f"{guarantee.unit}s; {count(abstained)} {verb} to {hands}. With more labels it could answer at most about "
        f"{frequency(guarantee.attainable, 'of')}."
    )


def check(guarantee: Guarantee) -> str:
    """What images that had no part in it say of the guarantee."""
    if not guarantee.test_n:
        return "Not checked: no untouched images are left, for all labels had a part in it."
    unseen = "images" if guarantee.unit == "image" else "groups, one image of each"
    if guarantee.parts:
        return f"Check on {count(guarantee.test_n)} unseen {unseen}: {_worst_part(guarantee)}."
    return (
        f"Check on {count(guarantee.test_n)} unseen {unseen}: "
        f"{count(guarantee.test_wrong)} wrong of {count(guarantee.test_answers)} answered"
        f"{'; alone they leave it open' if guarantee_holds(guarantee) == 'undecided' else ''}."
    )


def _worst_part(guarantee: Guarantee) -> str:
    """The class or site that does worst on the test split, and whether that tells anything."""
    by_class = guarantee.kind == "class"
    counts = [(part.test_wrong, part.test_n if by_class else part.test_answers, part) for part in guarantee.parts]
    errors, of, part = max(counts, key=lambda each: each[0] / each[1] / each[2].risk if each[1] else 0.0)
    open_end = "; alone they leave it open" if guarantee_holds(guarantee) == "undecided" else ""
    return f"the worst {guarantee.kind} is “{part.name}”, {count(errors)} wrong of {count(of)}{open_end}"


def without(results: Results) -> str:
    """How often it is wrong when it answers everything."""
    if results.state == "measurement_failed":
        return "The numbers below are shown for repair only."
    bare = results.guarantee.risk_without_guard.value if results.guarantee else 1 - results.test_accuracy.value
    lead = "Without the guard" if results.state == "issued" else "When it answers every image"
    return f"{lead}: {frequency(bare)} answers are wrong{_width(results)}."


def _width(results: Results) -> str:
    """The interval of the share of wrong answers, said where labels are so few that there is no test split."""
    if results.provenance.splits.get("test") or math.isnan(results.test_accuracy.low):
        return ""
    low, high = 1 - results.test_accuracy.high, 1 - results.test_accuracy.low
    return f", {percent(low, 0)} to {percent(high, 0)} by so few labels"


def stricter(results: Results) -> str | None:
    """What limits stricter than the guaranteed one would take and leave; None where nothing is guaranteed."""
    if results.guarantee is None or not results.label_needs:
        return None
    said = "; ".join(_stricter(need, first=not at) for at, need in enumerate(results.label_needs))
    return f"Stricter limits: {said}."


def _stricter(need: LabelNeed, *, first: bool) -> str:
    """One limit; the first says what the numbers are."""
    if not need.coverage.value > 0:
        return f"{at_most(need.risk)} no labels would prove for this model"
    labels, left = count(_round_up(need.images)), in_hundred(need.coverage.value)
    if not first:
        return f"{at_most(need.risk)} about {labels} and {left}"
    lead = f"{at_most(need.risk)} needs about {labels} new labelled {need.coverage.unit}s"
    return f"{lead} and answers at best {left} of 100"


def _round_up(number: int) -> int:
    """To two significant digits: more would be pretended."""
    step = 10 ** max(0, len(str(number)) - 2)
    return -(-number // step) * step


def exception(results: Results, guarantee: Guarantee | None) -> str | None:
    """What the guarantee's share hides: the worst class, site or slice beyond the limit; None where none is.

    Beyond it: the interval that holds for all classes, sites or slices at once lies above the guaranteed share.
    """
    if guarantee is None or results.breaks is None:
        return None
    found = [row for row in results.breaks.rows if row.subject in {"class", "site", "slice"}]
    if not found:
        return None
    row = found[0]
    name = f"“{row.name}”" if row.subject == "class" else row.name
    others = f", and {plural(len(found) - 1, 'more')}".removesuffix("s") if len(found) > 1 else ""
    of = "images" if guarantee.kind == "class" else "answers"
    return f"but {name}: {in_hundred(row.measured.value)} of 100 {of} wrong{others}"
