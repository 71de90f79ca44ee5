"""What hides behind the softmax: nothing of a sound net, and a saturated or a rounded one is exposed."""

import pytest
from tests import tiny
from tests.pipeline.sanity.test_trials import changed, eighths, job, tried

from demur.classifier import BoundClassifier
from demur.pipeline.drawn_rows import attacked_rows
from demur.pipeline.plan.conditions import conditions
from demur.pipeline.sanity.attack_trials import lead_of
from demur.pipeline.sanity.mask_trials import mask_of
from demur.pipeline.sanity.trial_sample import TrialSample

OF = 48
PLAN = ("clean", "pgd(eps=0.2, steps=10)")
DOUBLE, LOGITS, QUERIES = "the same in double precision", "the same on the logits", "300 queries without a gradient"


class Heated(tiny.Net):
    """The patterns' net with logits as far apart as those of a net distilled at a high temperature."""

    def forward(self, x):
        return 3000 * super().forward(x)


def heated():
    return BoundClassifier(Heated().eval(), classes=tiny.CLASSES, input_shape=tiny.SHAPE)


def mask(model=None, use=PLAN, **given):
    return tried(job(model, use=use), **given).get("mask")


def fell(found):
    return {breach["attack"].partition(" (")[0]: breach["count"] for breach in found["breaches"]}


def test_a_sound_net_hides_nothing_and_costs_one_backward_pass_of_each_image():
    of = job(use=PLAN)
    sample = TrialSample(of, attacked_rows(of.index, OF))
    found = mask_of(sample, lead_of(of.scored), None)
    assert (found.blank, found.stood, found.grey, found.exposed, found.breaches) == (0, 0, 0, 0, ())
    assert (found.of, found.eps, found.norm) == (OF, 0.2, "linf")
    assert (sample.forwards, sample.backwards) == (OF, OF)


def test_a_saturated_net_stands_through_its_softmax_and_falls_on_its_logits():
    found, sound = mask(heated()), tried(job(use=PLAN))
    assert found["blank"] >= 40
    assert found["stood"] >= 20
    assert found["exposed"] >= fell(found)[LOGITS] >= 10
    assert fell(found)[DOUBLE] >= 0.9 * fell(found)[LOGITS]
    assert fell(found)[QUERIES] >= 5
    assert sound["mask"]["stood"] == 0


def test_the_exposed_are_those_that_any_other_attack_fools():
    found = mask(changed(eighths), surrogate=tiny.classifier())
    counts = fell(found)
    assert counts[LOGITS] == counts[DOUBLE] == 0
    assert counts["points made on another model"] >= 10
    assert max(counts.values()) <= found["exposed"] <= found["stood"] <= OF
    assert found["grey"] >= 20
    assert "points made on another model" not in fell(mask(changed(eighths)))


@pytest.mark.parametrize("use", [("clean",), ("clean", "fmn")])
def test_nothing_is_tried_where_no_attack_has_a_size(use):
    assert mask(use=use) is None


def test_it_takes_size_and_steps_of_the_longest_attack():
    of = job(heated(), use=("clean", "pgd(eps=1.5, norm='l2', steps=7)"))
    sample = TrialSample(of, attacked_rows(of.index, OF))
    found = mask_of(sample, lead_of(conditions(("pgd(eps=1.5, norm='l2', steps=7)",), tiny.SHAPE)), None)
    assert (found.eps, found.norm) == (1.5, "l2")
