"""A guard answers or abstains by its policy, alike alone and in any batch, and loses nothing to a bad image."""

import copy
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import torch
from tests import guarded, tiny
from torch import nn

from demur.classifier import BoundClassifier
from demur.errors import DataError, InputError
from demur.evidence import Evidence
from demur.guard.golden_vectors import as_file
from demur.guard.intake import Intake
from demur.pictures.decode_rules import Rules
from demur.policies import Tolerance, decide
from demur.signals.feature_distances import KNN


@pytest.fixture(scope="module")
def guard():
    return guarded.guard()


@pytest.fixture(scope="module")
def images():
    return guarded.images(200)


class TestDecisions:
    def test_they_are_those_of_the_policy_on_the_scores_row_by_row(self, guard, images):
        found = guard(images)
        logits = guard.classifier(images).detach()
        p = logits.double().softmax(dim=1).amax(dim=1).numpy()
        assert np.allclose(found.scores["msp"], 1 - p, atol=1e-12)
        assert found.accepted.tolist() == (found.scores["msp"] <= guard.policy.certificate.threshold).tolist()
        assert 0 < found.accepted.sum() < len(images)
        assert found.predicted.tolist() == logits.argmax(dim=1).tolist()
        assert np.allclose(found.distances["msp"], guard.policy.certificate.threshold - found.scores["msp"])
        assert found.accepted.tolist() == decide(guard.policy, found.scores).accepted.tolist()

    def test_the_reason_names_what_is_too_high_and_only_where_it_abstains(self, guard, images):
        found = guard(images)
        assert set(found.reasons) == {"", "low_confidence"}
        assert ((found.reasons == "") == found.accepted).all()

    def test_confidence_is_the_softmax_at_the_temperature(self, guard, images):
        logits = guard.classifier(images).detach().double()
        assert np.allclose(guard(images).confidence, (logits / 1.5).softmax(dim=1).amax(dim=1).numpy(), atol=1e-12)

    def test_one_decision_has_the_label_and_the_answer_or_none(self, guard, images):
        found = guard(images)
        one = next(each for each in found if not each.accepted)
        assert (one.answer, one.reason) == (None, "low_confidence")
        assert one.label in tiny.CLASSES
        given = next(each for each in found if each.accepted)
        assert given.answer == given.label
        assert found.answers == tuple(each.answer for each in found)
        assert len(found) == len(found.labels) == 200

    def test_alone_and_in_any_batch_they_are_alike(self, guard, images):
        whole = guard(images)
        for size in (1, 2, 63, 65, 200):
            parts = [guard(part) for part in torch.split(images, size)]
            scores = np.concatenate([part.scores["msp"] for part in parts])
            accepted = np.concatenate([part.accepted for part in parts])
            assert np.allclose(scores, whole.scores["msp"], rtol=1e-5, atol=1e-9)
            assert (accepted == whole.accepted)[~whole.near].all()

    def test_rows_within_the_tolerance_of_the_bound_are_near(self, guard, images):
        wide = replace(guard, tolerances={"msp": Tolerance(widths=(0.05,))})
        found = wide(images)
        assert found.near.tolist() == (np.abs(found.distances["msp"]) <= 0.05).tolist()
        assert 0 < found.near.sum() < len(images)

    def test_no_images_are_no_decisions(self, guard):
        assert len(guard(torch.empty(0, *tiny.SHAPE))) == 0
        assert len(guard.read([])) == 0

    def test_iterating_and_taking_one_agree(self, guard, images):
        found = guard(images[:5])
        assert [each.label for each in found] == list(found.labels) == [found[row].label for row in range(5)]

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_scores_are_in_single_precision_whatever_the_images_are_in(self, guard, images, dtype):
        narrow = images.to(dtype)
        assert (guard(narrow).scores["msp"] == guard(narrow.float()).scores["msp"]).all()

    @pytest.mark.parametrize("dtype", [">f4", "f2", "f8", "g"])
    def test_arrays_of_any_floats_do(self, guard, images, dtype):
        narrow = images.numpy().astype(dtype)
        plain = torch.from_numpy(narrow.astype("f4"))
        assert (guard(narrow).scores["msp"] == guard(plain).scores["msp"]).all()

    def test_precision_that_the_caller_set_for_his_own_model_decides_nothing(self, guard, images):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = guard(images)
        assert (found.scores["msp"] == guard(images).scores["msp"]).all()

    def test_a_copy_and_a_guard_that_was_sent_decide_alike(self, guard, images):
        whole = guard(images).accepted.tolist()
        for other in (copy.copy(guard), copy.deepcopy(guard), pickle.loads(pickle.dumps(guard))):
            assert other(images).accepted.tolist() == whole

    def test_arrays_and_single_images_do(self, guard, images):
        whole = guard(images)
        assert guard(images.numpy()).accepted.tolist() == whole.accepted.tolist()
        assert guard(images.double().numpy()).accepted.tolist() == whole.accepted.tolist()
        assert guard.answer(images[3]).label == whole.labels[3]
        assert guard.answer(images[3].numpy()).accepted == whole.accepted[3]


class TestBadImages:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda x: x[:, :, :4], "8"),
            (lambda x: x * 255, "divided by 255"),
            (lambda x: x - 1, "negative"),
            (lambda x: (x * 255).byte(), "floating"),
            (lambda x: x * float("nan"), "finite"),
            (lambda x: "picture", "tensor"),
            (lambda x: [x[0]], "list"),
            (lambda x: x.to_sparse(), "sparse"),
            (lambda x: x.to("meta"), "meta device"),
            (lambda x: np.array([["a"]], object), "array of object"),
            (lambda x: np.array(["a"]), "array of <U1"),
        ],
    )
    def test_a_tensor_of_another_kind_is_refused_with_the_rule(self, guard, images, change, words):
        with pytest.raises(DataError, match=words):
            guard(change(images))

    def test_one_answer_is_of_one_image(self, guard, images):
        with pytest.raises(DataError, match=r"about one image; got 3"):
            guard.answer(images[:3])

    @pytest.mark.parametrize(("pictures", "words"), [("a.png", "str alone"), (b"a", "bytes alone"), ([3], "int")])
    def test_what_is_no_list_of_pictures_is_refused(self, guard, pictures, words):
        with pytest.raises(DataError, match=words):
            guard.read(pictures)

    def test_a_picture_that_cannot_be_read_is_abstained_from_and_the_others_are_not(self, guard, images, tmp_path):
        good = as_file((images[0] * 255).round() / 255)[1]
        wide = as_file(torch.zeros(1, 8, 9))[1]
        found = guard.read([good, b"no picture", tmp_path / "absent.png", wide, tmp_path])
        assert found.labels[0] is not None
        assert found.labels[1:] == (None,) * 4
        assert found.reasons[1:].tolist() == ["unreadable"] * 4
        assert np.isnan(found.scores["msp"][1:]).all()
        assert np.isnan(found.confidence[1:]).all()
        assert "decode" in found.details[1]
        assert "No such file" in found.details[2]
        assert "1×8×9" in found.details[3]
        assert found[1].detail == found.details[1]

    def test_an_answer_that_is_not_finite_is_abstained_from_alone(self, images):
        class Torn(nn.Module):
            def __init__(self):
                super().__init__()
                self.net = tiny.Net()

            def forward(self, x):
                return torch.where(x.mean(dim=(1, 2, 3))[:, None] > 0.9, torch.nan, self.net(x))

        classifier = BoundClassifier(Torn().eval(), classes=tiny.CLASSES, input_shape=tiny.SHAPE)
        torn = guarded.guard(classifier=classifier)
        x = images.clone()
        x[5] = 1.0
        found, whole = torn(x), guarded.guard()(images)
        assert found.reasons[5] == "undefined_answer"
        assert (found.predicted[5], found.labels[5], found.accepted[5]) == (-1, None, False)
        others = np.arange(len(x)) != 5
        assert (found.accepted == whole.accepted)[others].all()


class TestPictures:
    def test_bytes_and_paths_are_read_by_the_rules(self, guard, images, tmp_path):
        grey = (images[:4] * 255).round() / 255
        (tmp_path / "one.png").write_bytes(as_file(grey[1])[1])
        found, whole = guard.read([as_file(grey[0])[1], tmp_path / "one.png", str(tmp_path / "one.png")]), guard(grey)
        assert found.scores["msp"].tolist() == whole.scores["msp"][[0, 1, 1]].tolist()
        assert guard.answer(as_file(grey[2])[1]).scores == whole[2].scores

    def test_pictures_are_scaled_as_the_audit_scaled_them(self, guard, images):
        scaling = replace(guard, intake=Intake(rules=Rules(size=(8, 8)), input_shape=tiny.SHAPE))
        large = as_file(((images[0] * 255).round() / 255).repeat_interleave(4, 1).repeat_interleave(4, 2))[1]
        assert scaling.answer(large).label is not None
        assert guard.answer(large).reason == "unreadable"


class TestExpiry:
    def test_after_the_last_day_it_abstains_on_everything(self, guard, images):
        yesterday = (datetime.now(UTC).date() - timedelta(days=1)).isoformat()
        over = replace(guard, card=replace(guard.card, expires=yesterday))
        assert over.expired
        assert set(over(images).reasons) == {"expired_certificate"}
        assert guarded.nothing_answered(over(images))

    def test_on_the_last_day_it_answers(self, guard, images):
        today = replace(guard, card=replace(guard.card, expires=datetime.now(UTC).date().isoformat()))
        assert not today.expired
        assert today(images).accepted.tolist() == guard(images).accepted.tolist()

    @pytest.mark.parametrize("notation", ["%Y%m%d", "%G-W%V-%u", "%GW%V%u"])
    def test_a_day_in_another_notation_is_the_same_day(self, guard, notation):
        day = datetime.now(UTC).date()
        for offset, over in ((-1, True), (0, False), (1, False)):
            text = (day + timedelta(days=offset)).strftime(notation)
            assert replace(guard, card=replace(guard.card, expires=text)).expired is over

    def test_a_day_that_is_none_is_refused(self, guard):
        with pytest.raises(InputError, match="2027-06-30"):
            replace(guard.card, expires="next summer")


def test_eight_threads_decide_as_one():
    classifier = BoundClassifier(tiny.Net().eval(), classes=tiny.CLASSES, input_shape=tiny.SHAPE, features="compare")
    images = guarded.images(1000)
    bank = KNN(k=3).fit(Evidence(classifier, images[:50]), torch.zeros(50, dtype=torch.int64))
    guard = guarded.guard(classifier=classifier)
    watched = replace(guard, signals={**guard.signals, "knn(k=3)": bank})
    one = watched(images)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(watched, [images] * 8))
    assert np.isfinite(one.scores["knn(k=3)"]).all()
    for each in found:
        assert (each.accepted == one.accepted).all()
        assert all((each.scores[name] == one.scores[name]).all() for name in one.scores)


def test_the_room_is_light():
    code = (
        "import sys, demur.guard.guard, demur.guard.guard_folder, demur.guard.golden_vectors;"
        "print(*{name.partition('.')[0] for name in sys.modules}, *(n for n in sys.modules if n.startswith('demur.')))"
    )
    found = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    assert not found & {"polars", "jinja2", "altair", "vl_convert", "pydantic", "sklearn", "skops", "captum", "onnx"}
    assert not found & {"demur.attacks", "demur.corruptions", "demur.analysis", "demur.pipeline", "demur.report"}
