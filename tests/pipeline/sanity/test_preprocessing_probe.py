"""The probe of preprocessing on small trained nets: planted faults are named, sound set-ups accused of nothing."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from tests import tiny
from tests.setups import HELD_OUT, TRAIN, altered, cnn, coloured, fashion, trained

from demur.analysis import analyse
from demur.classifier import BoundClassifier
from demur.data import build_index, from_tensors
from demur.errors import DataError
from demur.files import read_json
from demur.metrics.paired_gains import Answers, gains
from demur.pipeline.job import Job
from demur.pipeline.plan.plan_tables import ChecksPlan, ModelPlan
from demur.pipeline.plan.resolve import resolve
from demur.pipeline.preflight import preflight_checks
from demur.pipeline.run.loop import run_plan
from demur.pipeline.sanity.preprocessing_probe import preprocessing_facts, probe_rows
from demur.pipeline.sanity.preprocessing_remedy import preprocessing_remedy

PROBED = 200
MEAN, STD = (0.4, 0.35, 0.45), (0.25, 0.3, 0.2)
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
NAMES = [f"class {k}" for k in range(6)]


@cache
def tinted():
    """Shoes and other clothes in three colours, lighter towards the upper left."""
    hue = torch.randint(3, (len(fashion().x),), generator=torch.Generator().manual_seed(9))
    tint = 0.25 + 0.75 * torch.eye(3)[hue][:, :, None, None]
    light = torch.linspace(1, 0.4, 12)[:, None] * torch.linspace(1, 0.7, 12)
    shoe = torch.isin(coloured().y, torch.tensor([5, 7, 9])).long()
    ink = 0.15 + 0.85 * fashion().x[:, :, 1:13, 1:13]
    return replace(coloured(), x=(1.3 * tint * ink * light).clamp(max=1), y=3 * shoe + hue, classes=6)


@cache
def net():
    return trained(tinted, cnn, classes=6, steps=250)


def unscaled(mean, std):
    """Pixels from what normalisation makes of them."""
    return lambda x: x * torch.tensor(std).view(1, -1, 1, 1) + torch.tensor(mean).view(1, -1, 1, 1)


def held_out(change=lambda x: x):
    part = tinted().part(TRAIN, TRAIN + HELD_OUT)
    return from_tensors(change(part.x), part.y, classes=NAMES, name="tinted")


def classifier(module=None, **declared):
    return BoundClassifier(module or net(), classes=NAMES, input_shape=(3, 12, 12), **declared)


def job(model, source, rows=PROBED, split="tune"):
    plan = tiny.plan(conditions=("clean",), checks=ChecksPlan(preprocessing=rows))
    index = replace(build_index(source), splits=(split,) * len(source))
    return Job.of(resolve(plan, source), model, source, index)


def judged(facts):
    """Name → gain, of what was tried."""
    own = Answers.of(facts["right"], facts["losses"])
    tried = [each for each in facts["variants"] if each["fault"] is None]
    found = gains(own, [Answers.of(each["right"], each["losses"]) for each in tried])
    return {each["name"]: gain for each, gain in zip(tried, found, strict=True)}


def gross(facts):
    """The names of gross faults that no shift of the images explains, the largest gain first."""
    adapted = {each["name"] for each in facts["variants"] if each["adapted"]}
    found = sorted(judged(facts).items(), key=lambda pair: (-pair[1].accuracy.value, -pair[1].loss.value))
    return [name for name, gain in found if gain.is_gross and name not in adapted]


FAULTS = {
    "blue for red (BGR)": lambda: (classifier(), lambda x: x.flip(1)),
    "pixels of 0 to 255": lambda: (classifier(altered(net(), begin=lambda x: x / 255)), torch.clone),
    "pixels of -1 to 1": lambda: (classifier(altered(net(), begin=lambda x: (x + 1) / 2)), torch.clone),
    "no normalisation": lambda: (classifier(mean=(0.9,) * 3, std=(0.1,) * 3), torch.clone),
    "ImageNet's mean and deviation": lambda: (
        classifier(altered(net(), begin=unscaled(*IMAGENET.values()))),
        torch.clone,
    ),
    "channels last, read as channels first": lambda: (
        classifier(),
        lambda x: x.permute(0, 2, 3, 1).reshape(x.shape),
    ),
    "inverted": lambda: (classifier(), lambda x: 1 - x),
    "turned upside down": lambda: (classifier(), lambda x: x.flip(2, 3)),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_gross_fault_is_named_first_by_two_hundred_images(name):
    model, change = FAULTS[name]()
    facts = preprocessing_facts(job(model, held_out(change)))
    assert len(facts["right"]) == PROBED
    assert gross(facts)[0] == name


def dimmed(x):
    return 0.7 * x


def noisy(x):
    return (x + 0.15 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)


SOUND = {
    "as trained": lambda: (classifier(), torch.clone),
    "normalised": lambda: (classifier(altered(net(), begin=unscaled(MEAN, STD)), mean=MEAN, std=STD), torch.clone),
    "dimmed": lambda: (classifier(), dimmed),
    "noisy": lambda: (classifier(), noisy),
    "unsure": lambda: (classifier(altered(net(), end=lambda z: 0.1 * z)), torch.clone),
}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_set_up_is_accused_of_nothing(name):
    model, change = SOUND[name]()
    facts = preprocessing_facts(job(model, held_out(change)))
    assert gross(facts) == []
    assert len(judged(facts)) > 15


def test_the_first_answers_are_those_of_the_model_and_their_losses():
    found = job(classifier(), held_out())
    rows, facts = probe_rows(found), preprocessing_facts(found)
    x, y = found.load(rows)
    z = net()(x).detach().double()
    assert facts["sample_ids"] == [found.index.sample_ids[row] for row in rows]
    assert facts["right"] == (z.argmax(dim=1) == y).int().tolist()
    np.testing.assert_allclose(facts["losses"], torch.nn.functional.cross_entropy(z, y, reduction="none"), rtol=1e-3)


def test_rows_are_the_tune_rows_of_the_smallest_contents_and_few_if_so_wanted():
    found = job(classifier(), held_out(), rows=30)
    contents = [found.index.contents[row] for row in probe_rows(found)]
    assert contents == sorted(found.index.contents)[:30]
    assert len(probe_rows(job(classifier(), held_out(), rows=0))) == 0
    assert len(probe_rows(job(classifier(), held_out(), split="test"))) == 0


def test_a_hopeless_variant_is_asked_about_the_first_images_alone():
    facts = preprocessing_facts(job(classifier(), held_out()))
    asked = {each["name"]: len(each["right"]) for each in facts["variants"]}
    assert asked["pixels of 0 to 255"] == 64
    assert asked["mean and deviation of these images"] in {64, PROBED}
    assert facts["forwards"] == PROBED + sum(asked.values()) < 0.8 * PROBED * (1 + len(asked))


def test_the_same_job_gives_the_same_facts():
    assert preprocessing_facts(job(classifier(), held_out())) == preprocessing_facts(job(classifier(), held_out()))


def bounded(x):
    """A model that takes images in [0, 1] and nothing else."""
    if x.max() > 1.5:
        raise ValueError("pixels above 1.5")
    return x


def test_what_a_model_refuses_is_left_out_and_the_rest_is_tried():
    facts = preprocessing_facts(job(classifier(altered(net(), begin=bounded)), held_out()))
    faults = {each["name"]: each["fault"] for each in facts["variants"]}
    assert "pixels above 1.5" in faults["pixels of 0 to 255"]
    assert faults["blue for red (BGR)"] is None


def test_answers_that_are_no_numbers_are_wrong_and_sure():
    model = classifier(altered(net(), begin=lambda x: torch.where(x.amax((1, 2, 3), True) > 2, torch.nan, x)))
    facts = preprocessing_facts(job(model, held_out()))
    (lost,) = (each for each in facts["variants"] if each["name"] == "pixels of 0 to 255")
    assert (set(lost["right"]), set(lost["losses"])) == ({0}, {30.0})


def test_the_refusal_of_labels_names_what_would_make_them_fit():
    broken = job(classifier(mean=(0.0,) * 3, std=(100.0,) * 3), held_out())
    with pytest.raises(
        DataError, match=r"better than guessing.*tune images it is right on .*no normalisation: add \?mean=0"
    ):
        preflight_checks(broken)
    assert preprocessing_remedy(job(classifier(), held_out())) == ""


def test_an_audit_with_a_gross_fault_is_void_and_says_what_mends_it(tmp_path):
    plan = tiny.plan(conditions=("clean",), model=ModelPlan(trust_labels=True))
    whole = from_tensors(tinted().x.flip(1), tinted().y, classes=NAMES, name="tinted")
    run = run_plan(plan, tmp_path / "run", tiny.Quiet(), whole, classifier())
    results = analyse(run)
    (check,) = (each for each in results.checks if each.name == "preprocessing is as in training")
    assert (check.state, check.bears_on, results.state) == ("fail", "everything", "measurement_failed")
    assert "blue for red (BGR)" in check.sentence
    assert "in the order blue, green, red" in check.sentence
    assert check.name in results.next_step
    assert read_json(run / "facts" / "preprocessing.json")["forwards"] <= results.provenance.trial_passes


def test_a_plan_can_leave_it_out(tmp_path):
    plan = tiny.plan(conditions=("clean",), checks=ChecksPlan(preprocessing=0))
    results = analyse(run_plan(plan, tmp_path / "run", tiny.Quiet(), tiny.source(), tiny.classifier()))
    assert results.preprocessing is None
    assert "preprocessing is as in training" not in {check.name for check in results.checks}
