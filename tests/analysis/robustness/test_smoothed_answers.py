"""What is proven under noise, from the plan to the page: of a model that gives answers and no gradients."""

import json
import shutil
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import beta, norm
from tests import tiny
from torch import nn

from demur.analysis import analyse
from demur.analysis.compare_runs import compare
from demur.analysis.csv_tables import csv_tables
from demur.analysis.robustness.smoothed_answers import smoothed
from demur.analysis.run_folder import Run
from demur.classifier import BoundClassifier
from demur.cli.comparison_words import compare_words
from demur.errors import InputError, RunError
from demur.files import read_json
from demur.pipeline.drawn_rows import attacked_rows
from demur.pipeline.plan.plan_file import Plan, read_plan
from demur.pipeline.plan.plan_tables import SmoothingPlan
from demur.pipeline.run import smoothing_facts
from demur.pipeline.run.loop import run_plan
from demur.proofs import Smoothing
from demur.report import render
from demur.report.comparison_page import comparison_page

IMAGES, SIGMA, DRAWS = 70, 0.3, 160
FACTS = "facts/smoothing.json"
PLAN = SmoothingPlan(images=IMAGES, sigma=SIGMA, selection=20, samples=DRAWS, radii=(0.15, 0.3, 2.0))


class Opaque(nn.Module):
    """Answers that no gradient comes through."""

    def __init__(self):
        super().__init__()
        self.net = tiny.Net()

    def forward(self, x):
        return self.net(x.detach()).round(decimals=3).detach()


class Bounded(Opaque):
    """A model that takes no pixel below 0."""

    def forward(self, x):
        if x.min() < 0:
            raise ValueError("a pixel is below 0")
        return super().forward(x)


def run(out, smoothing=PLAN, module=Opaque, **changes):
    model = BoundClassifier(module().eval(), classes=tiny.CLASSES, input_shape=tiny.SHAPE)
    plan = tiny.plan(conditions=("clean",), **({"smoothing": smoothing} if smoothing else {}), **changes)
    return run_plan(plan, out, tiny.Quiet(), tiny.source(400), model)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return run(tmp_path_factory.mktemp("smoothing") / "run")


@pytest.fixture(scope="module")
def found(folder):
    return analyse(folder)


def jobs(folder, monkeypatch):
    """The job of a run, as its facts were made."""
    taken = []
    monkeypatch.setattr(
        "demur.pipeline.run.loop.smoothing_facts", lambda job: taken.append(job) or smoothing_facts.smoothing_facts(job)
    )
    run(folder)
    return taken[0]


def test_counts_are_those_of_the_images_that_are_attacked_whatever_the_batch(folder, tmp_path, monkeypatch):
    job, facts = jobs(tmp_path / "again", monkeypatch), read_json(folder / FACTS)
    rows = attacked_rows(job.index, IMAGES)
    x, y = job.load(rows)
    how = Smoothing(sigma=SIGMA, selection=20, samples=DRAWS)
    votes = how.certify(job.classifier, x, job.keys(rows, "smoothing"), batch=33)
    assert facts["sample_ids"] == [job.index.sample_ids[row] for row in rows]
    assert facts["selected"] == votes.selected.tolist()
    assert facts["label_votes"] == votes.counts[range(IMAGES), y].tolist()
    assert facts["votes"] == votes.counts[range(IMAGES), votes.selected].tolist()
    assert facts == read_json(tmp_path / "again" / FACTS)
    assert 0 < sum(own != label for own, label in zip(facts["selected"], y.tolist(), strict=True)) < IMAGES / 2


def slow_bound(votes):
    return 0.0 if votes == 0 else beta.ppf(0.001, votes, DRAWS - votes + 1)


def test_every_share_is_that_of_the_radii_worked_out_one_by_one(folder, found):
    """Cohen's radius; a guard by votes answers the label while its share is above .9, another above .1 at most."""
    facts, rows = read_json(folder / FACTS), Run(folder).rows("clean")
    labels = dict(zip(rows["sample_id"], rows["label"], strict=True))
    for size, radius in zip(found.smoothed.sizes, (0.0, 0.15, 0.3, 2.0), strict=True):
        right, guard, wrong = [], [], []
        for name, selected, votes in zip(facts["sample_ids"], facts["selected"], facts["label_votes"], strict=True):
            z = norm.ppf(slow_bound(votes))
            chosen = selected == labels[name]
            right.append(chosen and SIGMA * z > radius)
            guard.append(chosen and SIGMA * (z - norm.ppf(0.9)) > radius)
            wrong.append(not SIGMA * (z - norm.ppf(0.1)) > radius)
        assert size.radius == radius
        for share, flags in ((size.right, right), (size.guard_right, guard), (size.accepted_wrong, wrong)):
            assert (share.value, share.n) == (pytest.approx(np.mean(flags)), IMAGES)
            assert share.low <= share.value <= share.high
    answered = [norm.ppf(slow_bound(votes)) > norm.ppf(0.9) for votes in facts["votes"]]
    assert found.smoothed.answered.value == pytest.approx(np.mean(answered))
    assert 0 < found.smoothed.answered.value < 1


def test_less_is_proven_of_larger_changes_and_nothing_beyond_the_reach_of_the_draws(found):
    table = found.smoothed
    for one, other in pairwise(table.sizes):
        assert one.right.value >= other.right.value
        assert one.guard_right.value >= other.guard_right.value
        assert one.accepted_wrong.value <= other.accepted_wrong.value
    assert all(size.guard_right.value <= size.right.value <= 1 - size.accepted_wrong.value for size in table.sizes)
    assert 0 < table.sizes[1].right.value < 1
    assert table.reach == pytest.approx(SIGMA * norm.ppf(0.001 ** (1 / DRAWS)))
    assert table.guard_reach == pytest.approx(table.reach + SIGMA * norm.ppf(0.9))
    assert table.answer_reach == pytest.approx(table.reach - SIGMA * norm.ppf(0.9))
    assert (table.sizes[3].right.value, table.sizes[3].accepted_wrong.value) == (0, 1)


@pytest.mark.parametrize(("samples", "share", "radii"), [(100, 0.6, [0.0, 0.1]), (400, 0.9, [0.0, 0.1, 0.2, 0.3])])
def test_without_named_radii_they_are_multiples_of_the_noise_that_can_be_proven(samples, share, radii):
    plan = SmoothingPlan(sigma=0.1, samples=samples, share=share)
    assert smoothing_facts._radii(plan, Smoothing(sigma=0.1, samples=samples)) == radii


def test_the_page_says_of_which_classifier_with_what_chance_and_how_far(found):
    text = render(found)
    section = text.partition('<h2 id="smoothed-title">Proven under noise')[2].partition("</section>")[0]
    size = found.smoothed.sizes[1]
    for share in (size.right, size.guard_right, size.accepted_wrong):
        assert f"{100 * share.value:.1f} %" in section
    rows = {row.partition("</th>")[0].strip(): row for row in section.split('<th scope="row">')[1:]}
    beyond = {radius: row.count("beyond 160 draws") for radius, row in rows.items()}
    reaches = (found.smoothed.reach, found.smoothed.answer_reach, found.smoothed.guard_reach)
    assert beyond == {"none": 0, "0.15": sum(reach <= 0.15 for reach in reaches), "0.3": 1, "2": 3}
    for words in ("another classifier", "at most 0.1 %", "more than 90 %", "σ = 0.3", "160 others"):
        assert words in section
    assert f"{found.smoothed.reach:.3g}" in section
    assert "Proven under noise" not in render(found.model_copy(update={"smoothed": None}))


def test_the_sizes_are_a_table_for_spreadsheets(found):
    table = csv_tables(found)["smoothed.csv"]
    assert table["radius"].to_list() == [0.0, 0.15, 0.3, 2.0]
    assert table["accepted_wrong_high"][1] == found.smoothed.sizes[1].accepted_wrong.high
    assert set(table["sigma"]) == {SIGMA}


def test_runs_are_compared_at_the_sizes_that_they_share(folder, tmp_path):
    other = tmp_path / "run"
    shutil.copytree(folder, other)
    facts = read_json(other / FACTS)
    facts |= {"radii": [0.0, 0.15, 0.4, 2.0], "sigma": 0.2, "label_votes": [DRAWS // 10] * IMAGES}
    (other / FACTS).write_text(json.dumps(facts))
    tiny.reseal(other)
    told = compare([folder, other])
    phases = {each.title: each for each in told.phases if each.kind == "smoothed"}
    kinds = ("proven up to {} (L2)", "accepted and wrong up to {} (L2), at most")
    assert list(phases) == [f"Smoothed: {kind.format(size)}" for size in ("0", "0.15") for kind in kinds]
    one, wrong = (
        phases["Smoothed: proven up to 0.15 (L2)"],
        phases["Smoothed: accepted and wrong up to 0.15 (L2), at most"],
    )
    assert one.n == IMAGES
    size = analyse(folder).smoothed.sizes[1]
    assert (one.cell("A").value.value, one.cell("B").value.value) == (pytest.approx(size.right.value), 0)
    assert wrong.cell("A").value.value == pytest.approx(size.accepted_wrong.value)
    assert one.difference("B").outcome == wrong.difference("B").outcome == "worse"
    assert "A: σ = 0.3, 160 draws, 0.9 must agree, error 0.001 per image; B: σ = 0.2" in one.sentence
    assert "Smoothed: proven up to 0.15 (L2)" in "\n".join(compare_words(told))
    assert "Proven of the smoothed classifier" in comparison_page(told)


def test_an_image_of_which_another_class_was_selected_is_not_right_and_may_be_safe(folder, tmp_path):
    other = tmp_path / "run"
    shutil.copytree(folder, other)
    facts = read_json(other / FACTS)
    facts |= {"selected": [(chosen + 1) % 3 for chosen in facts["selected"]], "label_votes": [DRAWS] * IMAGES}
    (other / FACTS).write_text(json.dumps(facts))
    table = smoothed(Run(tiny.reseal(other)))
    labels, names = dict(Run(folder).rows("clean").select("sample_id", "label").iter_rows()), facts["sample_ids"]
    right = np.mean([labels[name] == chosen for name, chosen in zip(names, facts["selected"], strict=True)])
    assert right < 0.5
    assert table.sizes[0].guard_right.value == pytest.approx(right)
    for size in table.sizes[:3]:
        assert size.right.value == pytest.approx(right)
        assert size.accepted_wrong.value == 0


def test_votes_of_another_kind_are_refused(folder, tmp_path):
    other = tmp_path / "run"
    shutil.copytree(folder, other)
    facts = read_json(other / FACTS)
    (other / FACTS).write_text(json.dumps(facts | {"samples": 0}))
    with pytest.raises(RunError, match="samples must be as the audit writes it"):
        analyse(tiny.reseal(other))


def test_a_model_that_does_not_take_noise_says_why_and_the_audit_goes_on(folder, tmp_path):
    out = run(tmp_path / "run", module=Bounded)
    results = analyse(out)
    assert results.smoothed.reason.startswith("ValueError: a pixel is below 0")
    assert (results.smoothed.sizes, results.smoothed.answered) == ((), None)
    assert "does not answer images with noise on them (ValueError: a pixel is below 0" in render(results)
    assert "smoothed.csv" not in csv_tables(results)
    assert not [each for each in compare([folder, out]).phases if each.kind == "smoothed"]


def test_no_more_images_are_asked_about_than_are_attacked(tmp_path):
    facts = read_json(run(tmp_path / "run", attacked=5) / FACTS)
    assert len(facts["sample_ids"]) == len(facts["votes"]) == 5


def test_a_plan_that_does_not_ask_has_none(tmp_path):
    assert Plan().smoothing is None
    assert "smoothing" not in Plan().toml()
    folder = run(tmp_path / "run", SmoothingPlan(images=0))
    assert analyse(folder).smoothed is None
    assert not (folder / FACTS).exists()


@pytest.mark.parametrize(
    "setting",
    ["sigma=0", "samples=10", "alpha=0.5", "share=0.4", "share=1", "radii=[-1]", "images=-1", 'sigma="wide"'],
)
def test_a_plan_that_could_prove_nothing_is_refused(setting):
    with pytest.raises(InputError, match=rf"plan key 'smoothing\.{setting.partition('=')[0]}"):
        read_plan(None, [f"smoothing.{setting}"])
    assert read_plan(None, ["smoothing.sigma=0.12"]).smoothing == SmoothingPlan(sigma=0.12)
