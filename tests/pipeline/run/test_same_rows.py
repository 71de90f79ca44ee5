"""A run goes on with the rows it was begun with, and never measures a model on what it has learned from."""

import pytest
import torch
from tests import tiny

from demur import audit, from_tensors
from demur.classifier import BoundClassifier
from demur.data import build_index
from demur.errors import RunError
from demur.files import read_json
from demur.pipeline.image_similarity import near_duplicate_facts
from demur.pipeline.plan.plan_file import read_plan
from demur.pipeline.run.loop import run_plan
from demur.records import read

ONLY_CLEAN = {"conditions": ("clean",)}


def some(order=slice(None), groups=None):
    images, labels = tiny.images_and_labels(300)
    return from_tensors(images[order], labels[order], classes=tiny.CLASSES, groups=groups, name="x")


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda: some(torch.arange(299, -1, -1)), "images, labels, splits"),
        (lambda: some(groups=[str(k // 2) for k in range(300)]), "splits, groups"),
    ],
)
@pytest.mark.parametrize("interrupted", [True, False])
def test_other_rows_of_the_same_images_are_refused(tmp_path, other, words, interrupted):
    tiny.run(tmp_path, some(), **ONLY_CLEAN)
    before = tiny.hashes(tmp_path)
    if interrupted:
        (tmp_path / "records" / "c000-s0000.parquet").unlink()
    with pytest.raises(RunError, match=f"same images and labels, and with other {words} or in another order"):
        tiny.run(tmp_path, other(), **ONLY_CLEAN)
    assert read_json(tmp_path / "run.json")["data_sha256"] == build_index(other()).sha256
    tiny.run(tmp_path, some(), **ONLY_CLEAN)
    assert tiny.hashes(tmp_path) == before


def test_a_classifier_given_in_python_is_not_measured_on_what_it_learned_from(tmp_path):
    learned = build_index(tiny.source()).contents[:200]
    model = BoundClassifier(tiny.Net().eval(), classes=tiny.CLASSES, input_shape=tiny.SHAPE, learned_from=learned)
    for number, one in enumerate((model, model.to("cpu"))):
        folder = tiny.run(tmp_path / str(number), model=one, **ONLY_CLEAN)
        assert {int(key) for key in read(folder)["sample_id"]} == set(range(200, tiny.ROWS))
        assert read_json(folder / "run.json")["excluded"] == 200


def test_near_duplicates_of_what_the_model_learned_from_are_found():
    images, labels = tiny.images_and_labels(400)
    images[200:220] = (0.8 * images[:20] + 0.1).clamp(0, 1)
    source = from_tensors(images, labels, classes=tiny.CLASSES, name="x")
    whole = build_index(source)
    index = build_index(source, exclude=whole.contents[200:], held_out=True)
    assert len(index) == 200
    assert set(index.learned) == set(range(200, 400))
    facts = near_duplicate_facts(source, index)
    assert facts["pairs"] == pytest.approx(20, abs=2)
    assert all("train" in pair for pair in facts["between"])


@pytest.mark.parametrize(
    ("settings", "changes", "ours"),
    [
        ((), {}, True),
        ((), {"model.address": "fashion", "data.address": "fashion"}, True),
        (('model.address="zoo:a@b"',), {}, False),
        (("data.address=digits",), {}, False),
        ((), {"model.address": "zoo:a@b"}, False),
    ],
)
def test_only_the_shipped_classifier_has_the_shipped_purpose(settings, changes, ours):
    plan = read_plan(None, settings, changes)
    assert (plan.purpose.population is not None) == ours
    own = read_plan(None, (*settings, 'purpose.population="mine"'), changes)
    assert own.purpose.population == "mine"
    assert (own.purpose.acquisition is not None) == ours


def test_a_model_given_in_python_has_no_purpose_of_the_shipped_one(tmp_path):
    found = audit(
        tiny.classifier(),
        tiny.source(),
        out=tmp_path,
        plan={"conditions.use": ["clean"], "policies.use": ["certified(risk=0.1)"]},
    )
    assert not found.purpose


def test_an_audit_and_a_training_share_no_folder(tmp_path):
    (tmp_path / "training.json").write_text("{}")
    with pytest.raises(RunError, match="belongs to a training"):
        run_plan(tiny.plan(**ONLY_CLEAN), tmp_path, tiny.Quiet(), tiny.source(), tiny.classifier())
    assert not (tmp_path / "plan.toml").exists()
