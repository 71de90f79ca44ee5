"""A guard on new labels: does its certificate stand, what do they certify, and how often were labels asked?"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tests import guarded, tiny

from demur.classifier import BoundClassifier
from demur.data import build_index, from_tensors
from demur.errors import DataError, InputError
from demur.guard import Guard
from demur.guard.golden_vectors import selftest
from demur.guard.guard_folder import check_ledger, read_built_on
from demur.pipeline.guard.recertify import recertify
from demur.policies import Certificate, Refusal
from demur.policies.keeping import keeping


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return guarded.audited(tmp_path_factory.mktemp("audited"))[1]


@pytest.fixture
def folder(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "guard"))


def new_source(rows=1500, seed=7, flip=0.0, groups=None):
    """Other images of the same kind, a share of their labels moved on."""
    images, labels = tiny.images_and_labels(rows, seed)
    moved = torch.rand(rows, generator=torch.Generator().manual_seed(3)) < flip
    return from_tensors(
        images, torch.where(moved, (labels + 1) % 3, labels), classes=tiny.CLASSES, groups=groups, name="new"
    )


def test_the_old_threshold_is_counted_as_it_stands(folder):
    found, source = recertify(folder, new_source()), new_source()
    guard = Guard.load(folder)
    rows = list(source.read(range(len(source))))
    decided = guard(torch.stack([row.image for row in rows]))
    wrong = decided.predicted != np.array([row.label for row in rows])
    assert (found.images, found.excluded, found.unit) == (1500, 0, "image")
    assert found.answers == decided.accepted.sum()
    assert found.wrong == (decided.accepted & wrong).sum()
    assert found.risk.value == found.wrong / found.answers
    assert found.stands == keeping(found.wrong, found.answers, 0.1)


@pytest.mark.parametrize(("flip", "stands"), [(0.0, "holds"), (0.5, "broken")])
def test_labels_decide_whether_it_stands(folder, flip, stands):
    assert recertify(folder, new_source(flip=flip)).stands == stands


def test_too_few_answers_say_nothing(folder):
    found = recertify(folder, new_source(rows=20))
    assert found.stands is None
    assert isinstance(found.answer, Refusal)


def test_images_it_was_built_on_are_left_out(folder):
    source = tiny.source()
    found, built_on = recertify(folder, source), read_built_on(folder).every
    assert found.excluded == len(built_on) > 500
    assert found.images == len(source) - found.excluded


def test_images_that_are_all_known_or_of_other_classes_are_refused(folder):
    source, built_on = tiny.source(), read_built_on(folder).every
    index = build_index(source)
    used = [row for row, content in enumerate(index.contents) if content in built_on]
    images, labels = tiny.images_and_labels()
    places = index.positions[used]
    with pytest.raises(DataError, match=r"none of the|new to this guard"):
        recertify(folder, from_tensors(images[places], labels[places], classes=tiny.CLASSES, name="old"))
    with pytest.raises(DataError, match="are none of its 3"):
        recertify(folder, from_tensors(images, labels, classes=("a", "b", "c"), name="others"))


def test_images_the_model_has_learned_from_are_left_out_though_a_program_does_not_know_them(tmp_path):
    images, labels = tiny.images_and_labels()
    learned = build_index(tiny.source()).contents[:300]
    model = BoundClassifier(tiny.Net().eval(), classes=tiny.CLASSES, input_shape=tiny.SHAPE, learned_from=learned)
    folder = guarded.audited(tmp_path, model=model, policies=("certified(risk=0.2)",))[1]
    new, old = tiny.images_and_labels(100, 7), slice(0, 300)
    mixed = from_tensors(
        torch.cat([images[old], new[0]]), torch.cat([labels[old], new[1]]), classes=tiny.CLASSES, name="mixed"
    )
    found = recertify(folder, mixed)
    assert (found.images, found.excluded) == (100, 300)


def test_copies_of_an_image_certify_once(folder):
    images, labels = tiny.images_and_labels(60, 11)
    repeated = from_tensors(images.repeat(25, 1, 1, 1), labels.repeat(25), classes=tiny.CLASSES, name="copies")
    found = recertify(folder, repeated)
    assert (found.images, found.copies) == (60, 1440)
    assert isinstance(found.answer, Refusal)
    once = recertify(folder, from_tensors(images, labels, classes=tiny.CLASSES, name="once"))
    assert (once.answers, once.wrong, once.copies) == (found.answers, found.wrong, 0)


class TestLooks:
    def test_an_identical_repeat_is_the_same_look_and_other_labels_are_the_next(self, folder):
        first = recertify(folder, new_source(), source_name="line 3")
        again = recertify(folder, new_source(), source_name="line 3")
        assert first.answer.look.number == again.answer.look.number == 1
        other = recertify(folder, new_source(rows=1400, seed=8), source_name="line 3")
        assert other.answer.look.number == 2
        assert other.answer.look.spent(0.05) < 0.0031 < first.answer.look.spent(0.05)
        assert recertify(folder, new_source(rows=1400, seed=9)).answer.look.number == 1, "of a source of its own"
        assert len(check_ledger(folder)) == 4

    def test_the_look_is_noted_before_and_the_guard_stays_whole(self, folder):
        before = Guard.load(folder).policy
        recertify(folder, new_source())
        assert Guard.load(folder).policy == before


class TestNewGuard:
    def test_it_has_the_new_certificate_and_everything_else_of_the_old(self, folder, tmp_path):
        found = recertify(folder, new_source(), out=tmp_path / "next", expires="2099-01-01")
        old, new = Guard.load(folder), Guard.load(tmp_path / "next", sha256=found.sha256)
        assert new.policy.certificate == found.answer
        assert isinstance(found.answer, Certificate)
        assert found.answer.m == 1500
        assert (new.card.expires, new.card.confirmation, new.card.data) == ("2099-01-01", None, "new")
        assert new.card.rows["certify"] == 1500
        assert new.sha256 == old.sha256
        assert selftest(tmp_path / "next", new).passed
        assert len(check_ledger(tmp_path / "next")) == 2

    def test_the_thresholds_stand_between_the_tune_scores_of_the_guard(self, folder):
        scores = np.sort(read_built_on(folder).scores["msp"])
        threshold = recertify(folder, new_source()).answer.threshold
        place = np.searchsorted(scores, threshold)
        assert threshold == pytest.approx((scores[place - 1] + scores[place]) / 2)

    def test_the_next_trial_leaves_out_both(self, folder, tmp_path):
        recertify(folder, new_source(), out=tmp_path / "next")
        known = read_built_on(tmp_path / "next").every
        assert len(known) == len(read_built_on(folder).every) + 1500
        with pytest.raises(DataError, match=r"none of the|new to this guard"):
            recertify(tmp_path / "next", new_source())

    def test_a_refusal_writes_none(self, folder, tmp_path):
        found = recertify(folder, new_source(flip=0.6), out=tmp_path / "next")
        assert isinstance(found.answer, Refusal)
        assert not (tmp_path / "next").exists()


def test_groups_are_the_unit(folder):
    groups = [f"lot {row // 3}" for row in range(1500)]
    found = recertify(folder, new_source(groups=groups))
    assert found.unit == "group"
    assert found.answers <= 500


@pytest.mark.parametrize("policy", ["certified_by_class(risk=0.3)", "capacity(coverage=0.6)"])
def test_other_statements_are_certified_again(tmp_path, policy):
    folder = guarded.audited(tmp_path, policies=(policy,))[1]
    found = recertify(folder, new_source(), out=tmp_path / "next")
    assert found.stands in {"holds", "undecided"}
    assert Guard.load(tmp_path / "next").card.statement.partition("(")[0] == policy.partition("(")[0]


def test_a_guard_with_sites_is_fitted_again_instead(tmp_path):
    guard = guarded.guard()
    guarded.written(tmp_path / "guard", made=guard)
    from demur.files import read_json, write_json
    from demur.guard.file_list import write_file_list

    content = read_json(tmp_path / "guard" / "guard.json")
    content["card"]["statement"] = "certified_by_site(risk=0.1)"
    write_json(tmp_path / "guard" / "guard.json", content)
    write_file_list(tmp_path / "guard")
    with pytest.raises(InputError, match="certified again by fitting"):
        recertify(tmp_path / "guard", new_source())
