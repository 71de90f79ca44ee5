"""An exported guard decides in ONNX Runtime as it does in torch; what cannot be exported is refused by name."""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from tests.guard.small_guards import CLASSES, SHAPE, shipped_guard, small_guard, small_images, small_net

from demur.errors import InputError, MissingExtraError, ModelError
from demur.guard import onnx_export
from demur.guard.card import BuiltOn
from demur.guard.golden_vectors import as_file, write_golden
from demur.guard.graph_vectors import golden_of, packed
from demur.guard.guard_folder import write_guard
from demur.guard.guard_graph import SCORE, GuardGraph, example, width
from demur.guard.model_files import Program, exported_program, write_model
from demur.guard.onnx_check import GraphFacts, Runtime, check_onnx, compare, golden_file
from demur.guard.onnx_export import distances, export_folder, export_onnx
from demur.policies import Rule, Tolerance
from demur.policies.by_site import CertifiedBySite, SiteRows
from demur.policies.fixed_sequence import Calibration

NAMES = (
    "msp", "activation_entropy(layers=['first', 'second'])", "doctor", "doctor(variant='beta')", "energy", "entropy",
    "feature_squeezing(strength=0)", "knn(k=3)", "mahalanobis", "mahalanobis(relative=true)", "margin", "max_logit",
    "maxlogit_pnorm", "pnorm(p=0)", "pnorm", "relative_u", "temperature_scaled", "tempered(temperature=2)", "tta",
)  # fmt: skip
SITES = ("north", "south")


@dataclass(frozen=True)
class Exported:
    """A guard, its graph in ONNX Runtime, and what was said of it."""

    guard: object
    made: object
    runtime: Runtime

    @classmethod
    def of(cls, guard, path, **given):
        made = export_onnx(guard, path, **given)
        return cls(guard, made, Runtime(path))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return Exported.of(small_guard(NAMES), tmp_path_factory.mktemp("onnx") / "guard.onnx", images=small_images(64, 7))


def by_site(scores, wrong, name):
    rows = Calibration(scores=scores, wrong=wrong)
    sites = np.array(SITES, object)[np.arange(len(scores)) % 2]
    sites = SiteRows(replace(rows, scores=scores + 0.1 * (sites == "south")), sites)
    return CertifiedBySite(risk=0.3).fit(sites, sites).on(name)


@pytest.fixture(scope="module")
def sited(tmp_path_factory):
    sites = ["north", "south", None, "east"] * 8
    guard = small_guard(["msp"], policy=by_site)
    path = tmp_path_factory.mktemp("sited") / "guard.onnx"
    return Exported.of(guard, path, images=small_images(32, 7), sites=sites)


def answers(exported, images, sites=None):
    """What guard and graph say of images."""
    before = golden_of(exported.guard, images, sites)
    return before, exported.runtime(before)


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_every_signal_scores_alike_in_any_batch(whole, rows):
    before, now = answers(whole, small_images(rows, 3))
    assert set(before) >= {f"{SCORE}{name}" for name in NAMES}
    for name in (f"{SCORE}{name}" for name in NAMES):
        assert now[name].dtype == np.float64
        np.testing.assert_allclose(now[name], before[name], rtol=1e-5, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(now["confidence"], before["confidence"], rtol=1e-5)


def test_images_are_decided_and_answered_alike(whole):
    before, now = answers(whole, small_images(600, 4))
    assert 100 < before["accepted"].sum() < 590
    assert len(np.unique(before["predicted"])) == len(CLASSES)
    np.testing.assert_array_equal(now["predicted"], before["predicted"])
    moved = now["accepted"] != before["accepted"]
    assert moved.sum() <= 1
    assert not (moved & ~before["near"]).any()


def test_a_graph_says_which_images_are_near_a_bound():
    wide = {"msp": Tolerance(edges=(0.2, 0.4), widths=(0.01, 0.05, 0.2), relative=0.01)}
    images, guard = small_images(300, 5), replace(small_guard(["msp"]), tolerances=wide)
    with torch.no_grad():
        found = dict(zip(GuardGraph(guard).outputs, GuardGraph(guard)(images), strict=True))
    near = guard(images).near
    assert 5 < near.sum() < 295
    np.testing.assert_array_equal(found["near"].numpy(), near)


def test_a_policy_of_two_bounds_is_in_the_graph():
    guard = replace(small_guard(["msp", "entropy"]), policy=Rule(confidence=0.7, entropy=0.6))
    images = small_images(300, 6)
    with torch.no_grad():
        found = GuardGraph(guard)(images)[3].numpy()
    wanted = guard(images).accepted
    assert 0 < (wanted & found).sum() < 300
    np.testing.assert_array_equal(found, wanted)


def test_an_answer_that_is_not_finite_is_none(whole):
    images = small_images(4).numpy()
    images[1, 0, 0, 0] = np.nan
    images[2] = 3e38
    now = whole.runtime({"images": images})
    assert now["predicted"].tolist()[1:3] == [-1, -1]
    assert not now["accepted"][1:3].any()
    assert not now["near"][1:3].any()
    for name in ("confidence", *(f"{SCORE}{name}" for name in NAMES)):
        assert np.isnan(now[name]).tolist() == [False, True, True, False], name


def test_a_graph_has_every_pass_once(whole):
    import onnx

    kinds = [node.op_type for node in onnx.load(whole.made.path).graph.node]
    passes = 1 + 2 + 5  # the image, two squeezers, five views
    assert kinds.count("Conv") == 2 * passes


def test_a_graph_states_what_it_rests_on(whole):
    import onnx

    model = onnx.load(whole.made.path)
    onnx.checker.check_model(model, full_check=True)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 18)]
    stated = whole.runtime.metadata
    assert json.loads(stated["classes"]) == list(CLASSES)
    assert json.loads(stated["input_shape"]) == list(SHAPE)
    assert json.loads(stated["outputs"]) == list(whole.made.outputs) == [each.name for each in model.graph.output]
    assert stated["certificate"] == whole.guard.policy.certificate.sentence
    assert stated["model_sha256"] == whole.guard.sha256
    assert json.loads(stated["bounds"]) == whole.guard.policy.bounds
    assert json.loads(stated["policy"])["policy"] == "certified"
    assert b"/site-packages/" not in whole.made.path.read_bytes()


def test_an_export_counts_what_it_compared(whole):
    assert (whole.made.images, whole.made.opset) == (64, 18)
    assert whole.made.largest < 0.5
    found = check_onnx(whole.made.path)
    assert found.passed
    assert (found.images, found.largest) == (64, whole.made.largest)


def test_a_site_is_an_input_and_an_unknown_one_is_not_answered(sited):
    images = small_images(300, 8)
    sites = [("north", "south", None, "east")[row % 4] for row in range(300)]
    before, now = answers(sited, images, sites)
    np.testing.assert_array_equal(now["accepted"], before["accepted"])
    answered = [int(now["accepted"][first::4].sum()) for first in range(4)]
    assert answered[0] > 0
    assert answered[1] > 0
    assert answered[2:] == [0, 0]
    assert json.loads(sited.runtime.metadata["sites"]) == list(sited.guard.policy.thresholds)
    beyond = sited.runtime({"images": images.numpy(), "site": np.full(300, 2)})
    assert not beyond["accepted"].any()


def changed(path, target, **changes):
    """The golden vectors of a graph beside a copy of it, with some rows changed."""
    target.write_bytes(path.read_bytes())
    with np.load(golden_file(path), allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    for name, change in changes.items():
        arrays[name] = change(arrays[name])
    np.savez(golden_file(target), allow_pickle=False, **arrays)
    return target


def first_row(change):
    return lambda rows: np.concatenate([change(rows[:1]), rows[1:]])


@pytest.mark.parametrize(
    ("name", "change", "what"),
    [
        ("predicted", lambda rows: (rows + 1) % 4, "another label"),
        ("accepted", lambda rows: ~rows, "another decision"),
        ("score.energy", lambda rows: rows + 0.01, "another score of energy"),
        ("score.energy", lambda rows: rows * np.nan, "another score of energy"),
        ("confidence", lambda rows: rows, None),
    ],
)
def test_a_difference_is_noticed(whole, tmp_path, name, change, what):
    found = check_onnx(changed(whole.made.path, tmp_path / "other.onnx", **{name: first_row(change)}))
    assert found.differences == (() if what is None else (f"image 0: {what}",))


def test_a_decision_that_moves_within_the_tolerance_is_counted_not_held_against_the_graph(whole):
    before, now = answers(whole, small_images(8))
    facts = GraphFacts(bounds={"msp": np.asarray(before["score.msp"][3])}, tolerances={})
    otherwise = {**now, "accepted": before["accepted"] ^ (np.arange(8) == 3)}
    assert compare(facts, before, otherwise).near == 1
    assert compare(facts, before, otherwise).passed
    assert not compare(replace(facts, bounds={"msp": np.asarray(-1.0)}), before, otherwise).passed


def test_nothing_is_left_of_a_graph_that_decides_otherwise(whole, tmp_path, monkeypatch):
    content = whole.made.path.read_bytes()
    monkeypatch.setattr(onnx_export, "exported", lambda guard: (GuardGraph(guard), content))
    strict = replace(whole.guard.policy.certificate, threshold=0.05)
    guard = replace(whole.guard, policy=strict.on("msp"))
    with pytest.raises(ModelError, match=r"decides \d+ times otherwise than this guard on 32 images: image"):
        export_onnx(guard, tmp_path / "guard.onnx")
    assert list(tmp_path.iterdir()) == []


def in_folder(folder, guard, images):
    def golden(made):
        if len(images):
            write_golden(made, guard, [as_file(image) for image in images])

    def model(made):
        return write_model(made, guard.classifier, None, "program")

    write_guard(folder, guard, built_on=BuiltOn(contents={}), model=model, golden=golden)
    return folder


def test_a_guard_in_a_folder_is_compared_on_its_golden_images(whole, tmp_path, monkeypatch):
    images = torch.cat([small_images(3, 11), (small_images(3, 12) * 255).round() / 255])
    guard = replace(whole.guard, signals={"msp": whole.guard.signals["msp"]})
    folder = in_folder(tmp_path / "guard", guard, images)
    monkeypatch.setattr(onnx_export, "exported", lambda guard: (GuardGraph(guard), whole.made.path.read_bytes()))
    made = export_folder(folder, tmp_path / "out.onnx")
    assert made.images == 6
    with np.load(made.golden, allow_pickle=False) as stored:
        np.testing.assert_array_equal(stored["images"], images.numpy())
    assert check_onnx(made.path).passed


def test_a_folder_without_golden_images_is_named(tmp_path):
    folder = in_folder(tmp_path / "guard", small_guard(["msp"]), ())
    with pytest.raises(InputError, match=r"golden cannot be read .* has no golden vectors"):
        export_folder(folder, tmp_path / "out.onnx")


def test_golden_vectors_are_the_same_bytes():
    arrays = {"images": small_images(2).numpy(), "accepted": np.array([True, False])}
    assert packed(arrays) == packed(arrays)


def test_golden_vectors_that_are_gone_are_named(whole, tmp_path):
    alone = tmp_path / "alone.onnx"
    alone.write_bytes(whole.made.path.read_bytes())
    with pytest.raises(InputError, match=r"alone\.golden\.npz cannot be read"):
        check_onnx(alone)
    alone.write_bytes(b"no graph")
    with pytest.raises(InputError, match=r"alone\.onnx cannot be run by ONNX Runtime"):
        check_onnx(alone)


def test_a_graph_of_another_version_is_refused():
    with pytest.raises(InputError, match="reads 'demur guard graph' of version 1"):
        GraphFacts.read({"format": "demur guard graph", "format_version": "2"})


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("mc_dropout", "draws its own dropout"),
        ("odin", "no backward pass"),
        ("stack", "outside torch"),
        ("label_change_rate(kept=0, mutants=4, stopping='never')", "spoilt copies"),
        ("activation_entropy(fusion='learned')", "estimator of scikit-learn"),
        ("feature_squeezing(jpeg=75)", "Pillow"),
        ("feature_squeezing(resample=0.5)", "antialiased"),
    ],
)
def test_a_signal_that_no_graph_can_hold_is_refused_by_name(name, why, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "exported", lambda guard: pytest.fail("traced"))
    with pytest.raises(InputError, match=why) as caught:
        export_onnx(small_guard(["msp", name]), tmp_path / "guard.onnx")
    assert f"the signal {name!r} cannot be exported" in str(caught.value)
    assert "Guard.load" in str(caught.value)


@dataclass(frozen=True)
class Odd:
    """A signal of somebody else."""

    unit: ClassVar[str] = "odd"
    way: str

    def __call__(self, evidence):
        if self.way == "keys":
            return evidence.keys.seeds("odd").double()
        if self.way == "branch" and float(evidence.logits.sum()) > 1e9:
            return evidence.logits[:, 1]
        return torch.special.gammainc(*evidence.logits[:, :2].exp().T)


@pytest.mark.parametrize("way", ["keys", "branch"])
def test_a_signal_of_a_plug_in_that_cannot_be_traced_is_refused_by_name(way, tmp_path):
    guard = small_guard(["msp"])
    guard = replace(guard, signals={**guard.signals, "odd": Odd(way)})
    with pytest.raises(InputError, match=r"the signal 'odd' cannot be exported"):
        export_onnx(guard, tmp_path / "guard.onnx")


@pytest.mark.slow
def test_a_signal_with_an_operation_that_onnx_lacks_is_refused_by_name(tmp_path):
    guard = small_guard(["msp"])
    guard = replace(guard, signals={**guard.signals, "odd": Odd("gamma")})
    with pytest.raises(InputError, match=r"the signal 'odd' cannot be exported"):
        export_onnx(guard, tmp_path / "guard.onnx")


def test_a_certificate_that_has_ended_is_not_exported(tmp_path):
    guard = small_guard(["msp"])
    with pytest.raises(InputError, match="ended on 2020-01-01"):
        export_onnx(replace(guard, card=replace(guard.card, expires="2020-01-01")), tmp_path / "guard.onnx")
    with pytest.raises(InputError, match=r"ends in \.onnx"):
        export_onnx(guard, tmp_path / "guard.pt")


def test_an_export_needs_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingExtraError, match=r"demur\[onnx\]"):
        export_onnx(small_guard(["msp"]), tmp_path / "guard.onnx")


def test_a_guard_is_imported_without_onnx():
    code = "import sys, demur.guard; print([name for name in sys.modules if name.startswith('onnx')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_an_export_says_nothing(capfd, caplog, tmp_path, monkeypatch, whole):
    import logging

    def chatty(guard):
        print("[torch.onnx] Obtain model graph")
        logging.getLogger("torch.onnx.exporter").warning("torchvision is not installed")
        return GuardGraph(guard), whole.made.path.read_bytes()

    monkeypatch.setattr(onnx_export, "exported", chatty)
    export_onnx(whole.guard, tmp_path / "guard.onnx")
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert logging.getLogger("torch.onnx").level == logging.NOTSET


def test_a_width_is_that_of_the_tolerance():
    scores = np.array([-np.inf, -3, 0.1, 0.2, 0.25, 0.4, 7, np.inf])
    for tolerance in (Tolerance(edges=(0.2, 0.4), widths=(0.1, 0.2, 0.3), relative=0.5), Tolerance(relative=0.1)):
        np.testing.assert_array_equal(width(tolerance, torch.from_numpy(scores)).numpy(), tolerance.of(scores))


def test_distances_by_products_are_those_pair_by_pair():
    draw = torch.Generator().manual_seed(0)
    bank = 1000 + torch.randn(50, 16, generator=draw, dtype=torch.float64)
    x = torch.cat([bank[:1] + 1e-3, 1000 + torch.randn(9, 16, generator=draw, dtype=torch.float64)])
    exact = torch.cdist(x, bank, compute_mode="donot_use_mm_for_euclid_dist")
    torch.testing.assert_close(distances(x, bank), exact, rtol=1e-9, atol=0)
    with pytest.raises(InputError, match="order 1"):
        distances(x, bank, p=1.0)


def test_a_graph_takes_what_an_example_is():
    guard = small_guard(["msp"])
    (images,) = example(guard)
    assert images.shape == (3, *SHAPE)


@pytest.mark.slow
def test_squeezers_as_their_authors_set_them_are_exported(tmp_path):
    found = Exported.of(small_guard(["msp", "feature_squeezing"]), tmp_path / "guard.onnx")
    before, now = answers(found, small_images(20, 9))
    name = f"{SCORE}feature_squeezing"
    np.testing.assert_allclose(now[name], before[name], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_model_that_is_a_program_is_exported(tmp_path):
    path = tmp_path / "program.pt2"
    path.write_bytes(exported_program(small_net()))
    guard = small_guard(["msp"])
    program = Program(torch.export.load(path).module())
    classifier = type(guard.classifier)(program, classes=CLASSES, input_shape=SHAPE)
    found = Exported.of(replace(guard, classifier=classifier), tmp_path / "guard.onnx")
    for rows in (1, 5):
        before, now = answers(found, small_images(rows, 3))
        np.testing.assert_allclose(now["score.msp"], before["score.msp"], rtol=1e-5)


@pytest.mark.slow
def test_the_shipped_model_decides_all_bundled_images_alike(tmp_path):
    guard, images = shipped_guard()
    found = Exported.of(guard, tmp_path / "guard.onnx")
    before, now = answers(found, images)
    assert len(images) == 10_000
    np.testing.assert_array_equal(now["predicted"], before["predicted"])
    assert (now["accepted"] != before["accepted"]).sum() <= 3
    assert compare(GraphFacts.read(found.runtime.metadata), before, now).passed
