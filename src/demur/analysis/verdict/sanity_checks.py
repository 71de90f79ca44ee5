"""Checks from the trials that an audit made on a few of the attacked images."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from demur.analysis.run_folder import Run
from demur.analysis.verdict.verdict_tables import Bearing, Check, State, sure_level


@dataclass(frozen=True)
class SanityRule:
    """How one finding is judged: shares of the samples above which it is a warning, and surely a failure.

    `advice` is added to the sentence of what did not pass.
    """

    name: str
    sentence: str
    advice: str
    warn: float
    fail: float
    bears_on: Bearing = "attacks"


RULES: Mapping[str, SanityRule] = {
    # One image in ten of a sparse set, such as a handwritten 1, may be nearly so; a clipped set is so throughout.
    "black_and_white": SanityRule(
        "pixels have shades",
        "Images of hardly any pixel between black and white",
        "pixels of 0–255 clipped to [0, 1] look so: divide them by 255; if they are drawn so, set model.trust_labels",
        0.25,
        0.5,
        "everything",
    ),
    # Float32 sums in another order stay far below what counts as a change, so no row should have one.
    "repeats": SanityRule(
        "answers repeat",
        "Images whose outputs changed when the model was asked again, in other orders and batches",
        "fix what is random in it, or attack the average of many answers",
        0.0,
        0.02,
        "everything",
    ),
    "wavering": SanityRule(
        "answers are steady",
        "Images whose margin changes by a tenth when every pixel moves by at most one grey level at random",
        "the gradient of so rough a model leads nowhere",
        0.05,
        0.5,
    ),
    # All rows obey the bound of probabilities or none is counted, so a share is only of confident ones.
    "squeezed": SanityRule(
        "outputs are no probabilities",
        "Images whose outputs look like probabilities that were taken for logits",
        "take away the model's last softmax, or one of two",
        0.1,
        0.5,
        "everything",
    ),
    # An overconfident model is no failed measurement: the gradient of its cross-entropy is held up.
    "certain": SanityRule(
        "uncertainty can be told",
        "Images whose largest probability rounds to exactly 1",
        "attacks in single precision would see no gradient there",
        0.5,
        1.0,
    ),
    "zero_gradient.cross_entropy": SanityRule(
        "cross-entropy has a gradient",
        "Images at which the gradient of cross-entropy is zero everywhere",
        "a layer rounds, cuts off or saturates: replace it by a smooth one for the attack",
        0.01,
        0.10,
    ),
    "zero_gradient.margin": SanityRule(
        "the margin has a gradient",
        "Images at which the gradient of the margin is zero everywhere",
        "a layer rounds or cuts off: replace it by a smooth one for the attack",
        0.01,
        0.05,
    ),
    "nonfinite_gradient": SanityRule(
        "gradients exist",
        "Images at which a gradient is NaN or infinite",
        "look for a division by zero or a root of zero in the model",
        0.0,
        0.02,
    ),
    "reach": SanityRule(
        "steps reach the edge",
        "Attacks of the plan whose steps, put end to end, do not lead to the edge of their ball",
        "lengthen `step`, or leave it out",
        0.0,
        0.0,
    ),
    "flat": SanityRule("the loss rises", "Images on which the attack did not raise its loss", "", 0.05, 0.20),
    # Still rising alone is harmless; whether it costs anything is what doubling the steps shows.
    "unfinished": SanityRule(
        "attacks come to an end",
        "Images that stood while the attack's loss was still rising in its last steps",
        "give it more steps",
        0.5,
        1.0,
    ),
    "one_step": SanityRule(
        "many steps beat one",
        "Images that one step along the gradient fools and many steps of the same size do not",
        "",
        0.01,
        0.05,
    ),
    # Nothing blind should find anything more, but one or two points of chance are no alarm.
    "noise": SanityRule(
        "gradients beat noise",
        "Images that random noise fools and an attack with gradients of the same size does not",
        "the gradients mislead",
        0.0,
        0.02,
    ),
    # A robust accuracy that moves by a point is still the same to a reader; by two it is not.
    "more_steps": SanityRule(
        "twice the steps change nothing",
        "Images that fell when the attack got twice the steps",
        "robust accuracy is lower than measured: give it more steps",
        0.01,
        0.02,
    ),
    "more_restarts": SanityRule(
        "another start changes nothing",
        "Images that fell when the attack started again elsewhere",
        "robust accuracy is lower than measured: give it more restarts",
        0.01,
        0.02,
    ),
    "blind": SanityRule(
        "gradients beat guessing",
        "Images that fell only to Square, which sees no gradient",
        "the gradients mislead",
        0.0,
        0.02,
    ),
    "transfer": SanityRule(
        "direct attacks beat borrowed ones",
        "Images that fell only to points made on another model",
        "the gradients mislead",
        0.0,
        0.02,
    ),
    "unbounded": SanityRule(
        "large changes break the model",
        "Images that stood although every image could have been turned grey",
        "the attack cannot see what the model looks at",
        0.01,
        0.05,
    ),
}


MISLED = ("noise", "blind", "transfer")
"""Findings by which what sees no gradient of the model beats what follows it."""

_EXPOSED = 0.05


def mask_check(facts: Mapping[str, Any]) -> Check:
    """Whether robustness against the usual attack is real; a warning, since the attacks of the plan may see behind it.

    Nothing stands for good reason where every image may be turned grey, so what does is masked too.
    """
    masked = max(facts["exposed"], facts["grey"])
    state: State = "warn" if masked > _EXPOSED * facts["of"] else "pass"
    advice = " (it sees no gradient: the model looks robust and is masked)" if state == "warn" else ""
    return Check(
        name="robustness is no mask",
        bears_on="attacks",
        state=state,
        sentence="Images that stand against an attack through the softmax in single precision, and fall to another of "
        f"its size or could have been turned grey{advice}",
        count=masked,
        of=facts["of"],
    )


def sanity_checks(run: Run) -> Iterator[Check]:
    """Every finding judged; runs of earlier versions made no trials."""
    facts = run.optional_facts("trials")
    if facts is None:
        return
    for finding in facts["findings"]:
        rule, count, of = RULES[finding["name"]], finding["count"], finding["of"]
        state = _state(finding, rule, facts)
        advice = f" ({rule.advice})" if rule.advice and state != "pass" else ""
        yield Check(
            name=rule.name, state=state, sentence=f"{rule.sentence}{advice}", count=count, of=of, bears_on=rule.bears_on
        )
    if facts.get("mask") is not None:
        yield mask_check(facts["mask"])


def _state(finding: Mapping[str, Any], rule: SanityRule, facts: Mapping[str, Any]) -> State:
    """Whoever vouches for images and labels in the plan is warned of black and white ones and no more."""
    found = sure_level(finding["count"], finding["of"], rule.warn, rule.fail)
    vouched = finding["name"] == "black_and_white" and facts["trusted"]
    return "warn" if vouched and found == "fail" else found
