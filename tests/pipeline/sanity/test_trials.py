"""Trials count what they should, on nets whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests import tiny

from demur.classifier import BoundClassifier
from demur.data import build_index
from demur.files import read_json, write_json
from demur.pipeline.drawn_rows import attacked_rows
from demur.pipeline.job import Job
from demur.pipeline.plan.conditions import conditions
from demur.pipeline.plan.resolve import resolve
from demur.pipeline.sanity import sample_size, trials
from demur.pipeline.sanity.answer_trials import _moved, _squeezed, pixel_findings
from demur.pipeline.sanity.attack_trials import _still_rising, lead_of, reach_findings
from demur.pipeline.sanity.trial_sample import TrialSample, scale_of, with_larger_eps
from demur.registry import build

ATTACKED = ("clean", "fgsm(eps=0.1)", "pgd(eps=0.1, keep='worst', steps=10)")


def job(model=None, use=ATTACKED):
    source = tiny.source(400)
    return Job.of(resolve(tiny.plan(conditions=use), source), model or tiny.classifier(), source, build_index(source))


def tried(of, surrogate=None, rows=48):
    return trials(replace(of, surrogate=surrogate), attacked_rows(of.index, rows))


def counts(facts):
    return {finding["name"]: finding["count"] for finding in facts["findings"]}


class Changed(tiny.Net):
    """The patterns' net with something done to its images first."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, x):
        return super().forward(self.change(x))


def changed(change):
    return BoundClassifier(Changed(change).eval(), classes=tiny.CLASSES, input_shape=tiny.SHAPE)


def eighths(x):
    return (x * 8).round() / 8


def test_a_sound_net_gives_no_finding_and_the_same_twice():
    facts = tried(job())
    assert {name: count for name, count in counts(facts).items() if count} == {}
    assert facts == tried(job())
    assert facts["samples"] == 48


def test_every_pass_is_counted(monkeypatch):
    of, seen = job(), {"forwards": 0, "backwards": 0}
    logits, gradients = BoundClassifier.logits, BoundClassifier.loss_gradients

    def forward(self, images):
        seen["forwards"] += len(images)
        return logits(self, images)

    def backward(self, images, losses):
        seen["backwards"] += len(images)
        return gradients(self, images, losses)

    monkeypatch.setattr(BoundClassifier, "logits", forward)
    monkeypatch.setattr(BoundClassifier, "loss_gradients", backward)
    facts = tried(of)
    assert {name: facts[name] for name in seen} == seen


def test_findings_name_their_samples():
    of = job(changed(eighths))
    facts = tried(of)
    (found,) = (finding for finding in facts["findings"] if finding["name"] == "zero_gradient.margin")
    chosen = {of.index.sample_ids[row] for row in attacked_rows(of.index, 48)}
    assert set(found["samples"]) == chosen
    assert found["count"] == found["of"] == 48


def test_behind_rounding_everything_blind_finds_more():
    """Gradients are zero, so PGD stays at its random start, and an attack without a sense for them does better."""
    found = counts(tried(job(changed(eighths), use=("clean", "pgd(eps=0.2, steps=10)"))))
    assert found["flat"] >= 40
    assert found["noise"] >= 5
    assert found["blind"] >= 10
    assert found["more_restarts"] >= 1
    assert found["unbounded"] >= 20
    assert found["more_steps"] == found["one_step"] == found["unfinished"] == 0


def test_images_that_fell_need_no_end():
    """The logit of a pattern falls all the way to the edge of the ball, long after the answer is wrong."""
    assert counts(tried(job(use=("clean", "mifgsm(eps=0.1, loss='logit', steps=20)"))))["unfinished"] >= 10
    assert counts(tried(job(use=("clean", "mifgsm(eps=0.45, loss='logit', steps=20)"))))["unfinished"] == 0


def test_a_net_of_fine_waves_wavers():
    waves = changed(lambda x: x + 0.3 * (2000 * x).sin())
    assert counts(tried(job(waves)))["wavering"] >= 40


def test_images_of_black_and_white_alone_are_told():
    sample = TrialSample(job(), attacked_rows(job().index, 5))
    sample.x = torch.full_like(sample.x, 0.5)
    sample.x[0], sample.x[1], sample.x[2, :, ::2], sample.x[2, :, 1::2] = 0, 1, 0, 1
    sample.x[3, :, :7] = 1  # an eighth keeps a shade
    (found,) = pixel_findings(sample)
    assert found.samples == tuple(sample.ids[:3])


def test_an_ensemble_asks_square_itself():
    assert "blind" not in counts(tried(job(use=("clean", "ensemble(eps=0.1, preset='quick')"))))


def test_a_loss_at_its_ceiling_on_wrong_answers_is_not_flat():
    assert counts(tried(job(use=("clean", "apgd(eps=0.1, loss='dlr', steps=20)"))))["flat"] == 0


def test_without_attacks_only_images_and_answers_are_tried():
    facts = tried(job(use=("clean",)))
    assert set(counts(facts)) == {"black_and_white", "repeats", "wavering", "squeezed", "certain"}
    assert facts["backwards"] == 0


def test_no_images_are_no_findings():
    assert tried(job(), rows=0)["findings"] == []


def test_points_of_a_smooth_net_carry_over_to_the_same_net_behind_rounding():
    found = counts(tried(job(changed(eighths)), surrogate=tiny.classifier()))
    assert found["transfer"] >= 3
    assert counts(tried(job(), surrogate=tiny.classifier()))["transfer"] == 0


def test_an_attack_that_is_cut_short_falls_behind_twice_its_steps():
    """Steps of a quarter of eps lead from a random point to the edge in eight, not in two."""
    short = counts(tried(job(use=("clean", "pgd(eps=0.2, step=0.05, steps=2)"))))
    assert short["more_steps"] >= 2
    assert short["one_step"] >= 2
    assert counts(tried(job(use=("clean", "pgd(eps=0.2, step=0.05, steps=10)"))))["more_steps"] == 0


def test_a_net_that_looks_at_its_batch_does_not_repeat():
    sample = TrialSample(job(changed(lambda x: x - 0.5 * x.mean(dim=0))), attacked_rows(job().index, 20))
    assert _moved(sample).sum() >= 15
    assert not _moved(TrialSample(job(), attacked_rows(job().index, 20))).any()


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        (torch.tensor([[1.0, 0, 0], [0, 1, 0]]), [True, True]),  # probabilities
        (torch.tensor([[0.0, 1, 1], [1, 1, 0]]), [True, True]),  # one sigmoid per class
        (torch.tensor([[5.0, 0, 0], [0, 1, 0]]).softmax(dim=1).softmax(dim=1).log(), [True, False]),  # unsure: 1 of 2
        (torch.tensor([[1.1, 0, 0], [-2, -1, -2]]), [False, False]),  # one above the bound clears all
        (torch.tensor([[0.1, -0.2, 0], [0, 0.01, 0]]), [False, False]),  # small, and far from the bound
    ],
)
def test_probabilities_taken_for_logits_are_told(logits, expected):
    assert _squeezed(logits).tolist() == expected


@pytest.mark.parametrize(
    ("trace", "expected"),
    [
        (torch.linspace(0, 1, 40), True),
        (torch.cat([torch.linspace(0, 1, 29), torch.ones(11)]), False),
        (torch.cat([torch.linspace(0, 1, 29), torch.linspace(1, 0, 11)]), False),  # the best so far counts
        (torch.cat([torch.linspace(0, 1, 29), torch.full((11,), 1.04)]), False),
        (torch.cat([torch.linspace(0, 1, 30), torch.linspace(1, 1.1, 10)]), True),
        (torch.zeros(40), False),
        (torch.cat([torch.linspace(0, 1, 29), torch.linspace(0.2, 1, 11)]), False),  # back to where it was
        (torch.cat([torch.linspace(0, 1, 66), torch.ones(14)]), False),  # many steps: the last ten
        (torch.cat([torch.linspace(0, 1, 16), torch.ones(4)]), True),  # few steps: their last quarter
        (torch.cat([torch.linspace(0, 1, 15), torch.ones(5)]), False),
        (torch.cat([torch.linspace(0, 1, 29), torch.full((11,), torch.nan)]), False),
    ],
)
def test_a_loss_that_still_rises_is_told(trace, expected):
    assert _still_rising(trace[None]).tolist() == [expected]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("fmn", "gaussian_noise(severity=1)"), None),
        (("fgsm(eps=0.1)",), "PGD(eps=0.1, norm='linf', steps=20"),
        (("pgd(eps=[0.1, 0.2], steps=5)", "pgd(eps=0.2, keep='worst', steps=9)"), "PGD(eps=0.2, norm='linf', steps=9"),
        (("pgd(eps=[0.1, 0.2], steps=5)", "ensemble(eps=0.2)"), "PGD(eps=0.2, norm='linf', steps=5"),
        (("bim(eps=1.5, norm='l2', steps=7)", "noise(eps=0.1)"), "BIM(eps=1.5, norm='l2', steps=7"),
        (("ensemble(eps=0.2, preset='quick')",), "APGD(eps=0.2, norm='linf', steps=30"),
        (("pgd(eps=0.1, steps=50, target='next')", "pgd(eps=0.3, steps=5)"), "PGD(eps=0.3, norm='linf', steps=5"),
    ],
)
def test_the_attack_that_is_tried(texts, expected):
    lead = lead_of(conditions(texts, (1, 28, 28)))
    assert str(lead).startswith(expected or "None")


def test_steps_that_do_not_reach_the_edge_are_named():
    short = "pgd(eps=0.1, step=0.004, steps=20)"
    found = conditions((short, "pgd(eps=0.1, step=0.005, steps=20)", "bim(eps=0.1)", "fgsm(eps=0.1)"), (1, 8, 8))
    (finding,) = reach_findings(found)
    assert (finding.samples, finding.of) == ((short,), 3)
    assert list(reach_findings(conditions(("fgsm(eps=0.1)", "fmn"), (1, 8, 8)))) == []


def test_a_ball_that_holds_a_grey_image():
    pgd = with_larger_eps(build("attack", "pgd(eps=0.1, step=0.01, steps=20)"), (3, 4, 4))
    assert (pgd.eps, pgd.step) == (0.5, pytest.approx(0.05))
    l2 = with_larger_eps(build("attack", "pgd(eps=1, norm='l2')"), (3, 4, 4))
    assert (l2.eps, l2.step) == (pytest.approx(0.5 * np.sqrt(48)), None)


def test_a_row_is_measured_by_its_own_size_or_a_typical_one():
    assert scale_of(torch.tensor([[1.0, -4], [0.1, 0], [2, 3]])).tolist() == [4, 3, 3]


@pytest.mark.parametrize(("attacked", "expected"), [(20, 48), (400, 50), (1000, 125), (5000, 128)])
def test_how_many_are_tried(attacked, expected):
    assert sample_size(attacked) == expected


def test_a_killed_run_keeps_whole_trials_and_makes_missing_ones_again(tmp_path):
    path = tiny.run(tmp_path / "run", conditions=("clean",)) / "facts" / "trials.json"
    before = read_json(path)
    path.unlink()
    tiny.run(tmp_path / "run", conditions=("clean",))
    assert read_json(path) == before
    written = path.stat().st_mtime_ns
    tiny.run(tmp_path / "run", conditions=("clean",))
    assert path.stat().st_mtime_ns == written
    write_json(path, before | {"forwards": 7})
    tiny.run(tmp_path / "run", conditions=("clean",))
    assert read_json(path) == before


@pytest.mark.parametrize(("attack", "random"), [("pgd(eps=0.1, steps=5)", True), ("bim(eps=0.1, steps=5)", False)])
def test_another_start_is_tried_where_there_is_one(attack, random):
    found = tried(job(use=("clean", attack)))
    assert ("more_restarts" in {each["name"] for each in found["findings"]}) is random
