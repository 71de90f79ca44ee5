"""Audits of data whose classes are some of the model's, in another order, measure what the same order measures."""

import json

import polars as pl
import pytest
import torch
from tests import tiny
from torch import nn

from demur.adapters import load_model
from demur.analysis import write_results
from demur.classifier import BoundClassifier
from demur.data import open_data
from demur.errors import DataError
from demur.pipeline.guard.recertify import recertify
from demur.pipeline.run.prepare import StandIns, prepared_job
from demur.records import read
from demur.report import write

FIVE = ("Cross", "kite", "bar", "star", "disc")
PLACES = [4, 2, 0]
"""Where the classes of the patterns, a disc, a bar and a cross, stand among the five."""


class Wider(nn.Module):
    """The net of the patterns with two more outputs, which claim nothing."""

    def __init__(self):
        super().__init__()
        self.inner = tiny.Net()
        self.eval()

    def forward(self, x):
        found = x.new_full((len(x), 5), -30.0)
        return found.index_copy(1, torch.tensor(PLACES), self.inner(x))


def model():
    return BoundClassifier(Wider(), classes=FIVE, input_shape=tiny.SHAPE)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("classes")
    conditions = ("clean", "pgd(eps=0.05, steps=4)", "gaussian_noise(severity=3)")
    return tiny.run(root / "three", conditions=conditions), tiny.run(
        root / "five", None, model(), conditions=conditions
    )


def test_labels_are_recorded_by_the_names_of_the_model(folders):
    three, five = folders
    assert json.loads((five / "run.json").read_text())["classes"] == list(FIVE)
    one, other = (read(folder, "clean") for folder in (three, five))
    moved = pl.Series([PLACES[label] for label in one["label"]], dtype=other["label"].dtype)
    assert (other["label"] == moved).all()
    assert (other["sample_id"] == one["sample_id"]).all()


def test_accuracy_is_that_of_the_same_classes_in_one_order(folders):
    three, five = (write_results(folder) for folder in folders)
    assert five.accuracy.value == three.accuracy.value
    assert [row.accuracy.value for row in five.conditions] == [row.accuracy.value for row in three.conditions]
    counts = {row.name: row.n for row in five.per_class}
    assert counts == {"kite": 0, "star": 0} | {
        name: next(row.n for row in three.per_class if row.name == name.lower()) for name in ("Cross", "bar", "disc")
    }


def test_classes_without_images_are_no_failures(folders):
    three, five = (write_results(folder) for folder in folders)
    assert five.worst_class.row.name.lower() == three.worst_class.row.name
    assert five.breaks.tried == three.breaks.tried
    assert not {row.name for row in five.breaks.rows} & {"kite", "star"}
    page = write(folders[1], five).path.read_text()
    assert "5 classes, 3 of them with images" in page
    assert "3 classes, 3 of them" not in write(folders[0], three).path.read_text()


def test_classes_that_are_none_of_the_models_are_refused_before_anything_runs(tmp_path):
    other = BoundClassifier(tiny.Net().eval(), classes=("disc", "bar", "ring"), input_shape=tiny.SHAPE)
    with pytest.raises(DataError, match="1 of 3 are none of its 3") as told:
        tiny.run(tmp_path / "run", None, other)
    assert "cross" in str(told.value)
    assert not (tmp_path / "run").exists()


def test_data_without_names_have_those_of_the_model():
    plan = tiny.plan(conditions=("clean",)).with_data("fashion")
    source = open_data("fashion")
    numbered = load_model("fashion", classes=source.classes, input_shape=source.input_shape)
    named = BoundClassifier(numbered.as_module(), classes=tuple("0123456789"), input_shape=source.input_shape)
    job = prepared_job(plan.model_copy(update={"data": plan.data.model_copy(update={"limit": 40})}),
                       StandIns(classifier=named), lambda _: None)  # fmt: skip
    assert job.source.classes == named.classes


def test_a_guard_is_certified_on_data_in_another_order(tmp_path):
    from tests import guarded

    folder = guarded.audited(tmp_path, policies=("certified(risk=0.2)",))[1]
    images, labels = tiny.images_and_labels(400, 7)
    order = torch.tensor([2, 0, 1])  # disc is the third of the new data
    from demur.data import from_tensors

    found = recertify(folder, from_tensors(images, order[labels], classes=("bar", "cross", "disc"), name="new"))
    same = recertify(folder, from_tensors(images, labels, classes=tiny.CLASSES, name="new"))
    assert (found.images, found.answers, found.wrong) == (same.images, same.answers, same.wrong)
