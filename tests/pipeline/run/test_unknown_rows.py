"""Images of none of the classes go through the same loop: shards, resumption, halves, seal."""

import json

import numpy as np
import pytest
import torch
from tests import tiny, unknown_runs

from demur.errors import DataError, RunError
from demur.pipeline.plan.plan_file import read_plan
from demur.records import BATCH_SIZE, read, wrong


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return unknown_runs.run(tmp_path_factory.mktemp("unknown") / "run")


def test_every_image_is_a_row_without_a_label(folder):
    rows = read(folder, "unknown")
    assert len(rows) == unknown_runs.ROWS
    assert rows["label"].null_count() == rows["margin"].null_count() == len(rows)
    assert rows["split"].unique().to_list() == ["test"]
    logits = tiny.Net()(unknown_runs.images()).detach().numpy()
    seen = rows.select(f"logit.{k}" for k in range(3)).to_numpy()
    np.testing.assert_allclose(seen, logits, atol=1e-5)
    assert rows["predicted"].to_list() == seen.argmax(axis=1).tolist()
    exps = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(rows["signal.msp"].to_numpy(), 1 - exps.max(axis=1) / exps.sum(axis=1), atol=1e-5)
    with pytest.raises(RunError, match="130 of 130 rows have none"):
        wrong(rows)


def test_the_other_rows_are_what_they_are_without(folder, tmp_path):
    alone = tiny.run(tmp_path / "run", of=tiny.source(unknown_runs.AUDITED), conditions=("clean",))
    assert read(folder, "clean").equals(read(alone, "clean"))
    policies = [json.loads((each / "facts" / "policies.json").read_text()) for each in (folder, alone)]
    assert policies[0] == policies[1]


def test_planted_images_and_shared_names_are_written_down(tmp_path):
    classes, labels = ("cat", "bar", "Disc"), torch.arange(unknown_runs.ROWS) % 3
    made = unknown_runs.run(
        tmp_path / "run", unknown_runs.source(classes=classes, labels=labels), conditions=("clean",)
    )
    near = json.loads((made / "facts" / "near_duplicates.json").read_text())["unknown"]
    assert (near["images"], near["of"]) == (unknown_runs.PLANTED, unknown_runs.ROWS)
    assert near["examples"] == [[f"unknown:{k:06d}", f"{k:06d}"] for k in range(unknown_runs.PLANTED)]
    facts = json.loads((made / "run.json").read_text())["unknown"]
    assert facts["shared_classes"] == ["bar", "Disc"]
    assert facts["shared_images"] == int((labels > 0).sum())


def test_a_stopped_run_goes_on_to_the_same_bytes(folder, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        tiny.interrupt(patch, lambda condition: condition.kind == "unknown")
        with pytest.raises(KeyboardInterrupt):
            unknown_runs.run(tmp_path / "run")
    assert tiny.hashes(unknown_runs.run(tmp_path / "run")) == tiny.hashes(folder)


def test_a_run_does_not_go_on_with_other_unknown_images(folder, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        tiny.interrupt(patch, lambda condition: condition.kind == "unknown")
        with pytest.raises(KeyboardInterrupt):
            unknown_runs.run(tmp_path / "run")
    with pytest.raises(RunError, match="other unknown images"):
        unknown_runs.run(tmp_path / "run", unknown_runs.source(planted=3))


class Failing(tiny.Net):
    """Fails on the strongest boards."""

    def forward(self, x):
        if bool((x[:, 0, 0, 1] > 0.99).any()):
            raise RuntimeError("no boards, please")
        return super().forward(x)


def test_a_model_that_fails_on_some_is_asked_by_halves(tmp_path):
    model = tiny.BoundClassifier(Failing().eval(), classes=tiny.CLASSES, input_shape=tiny.SHAPE)
    rows = read(unknown_runs.run(tmp_path / "run", model=model, conditions=("clean",)), "unknown")
    lost = (unknown_runs.images()[:, 0, 0, 1] > 0.99).numpy()
    assert 0 < lost.sum() < 10
    assert np.array_equal(rows["error"].is_not_null().to_numpy(), lost)
    assert rows["label"].null_count() == len(rows)
    assert rows.filter(lost)["predicted"].null_count() == lost.sum()
    assert rows.filter(~lost)[BATCH_SIZE].count() > 0


def test_an_image_that_cannot_be_read_is_counted(tmp_path):
    rows = read(
        unknown_runs.run(tmp_path / "run", tiny.Broken(unknown_runs.source(), {9}), conditions=("clean",)), "unknown"
    )
    assert rows["error"].to_list() == ["torn file" if row == 9 else None for row in range(len(rows))]


def test_images_of_another_shape_are_refused_before_anything_is_measured(tmp_path):
    small = tiny.from_tensors(torch.rand(3, 1, 4, 4), torch.zeros(3).long(), classes=("x",), name="small")
    with pytest.raises(DataError, match=r"unknown images of small must have the shape .*1×8×8; they have 1×4×4"):
        unknown_runs.run(tmp_path / "run", small)
    assert not (tmp_path / "run").exists()


def test_the_plan_has_a_key_for_them():
    plan = read_plan(None, ["data.unknown=folder:others"])
    assert 'unknown = "folder:others"' in plan.toml()
    assert "unknown" not in read_plan(None).toml()
