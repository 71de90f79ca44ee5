"""A run goes on with the model it was begun with, which is known by its answers."""

import shutil

import pytest
import torch
from tests import tiny

from demur import seal
from demur.errors import RunError
from demur.files import read_json, write_json
from demur.pipeline.run.loop import run_plan
from demur.pipeline.run.model_answers import NAME, PROBES

SMALL = {"conditions": ("clean", "gaussian_noise(severity=1)"), "policies": ("rule(confidence=0.6)",)}


class Told(tiny.Quiet):
    """Progress that remembers what it was told."""

    def __init__(self):
        self.sentences = []

    def say(self, what):
        self.sentences.append(what)


def audit(folder, model=None):
    """The small audit; what was said while it ran."""
    told = Told()
    run_plan(tiny.plan(**SMALL), folder, told, tiny.source(120), model or tiny.classifier())
    return told.sentences


@pytest.fixture
def folder(tmp_path):
    audit(tmp_path / "run")
    return tmp_path / "run"


def answering(monkeypatch, change):
    """The net of the tests answers otherwise from now on, with the same weights."""
    before = tiny.Net.forward
    monkeypatch.setattr(tiny.Net, "forward", lambda self, x: change(before(self, x)))


CHANGES = {
    "scaled by a hundredth": lambda logits: 1.01 * logits,
    "squashed": torch.tanh,
    "one class moved": lambda logits: logits + torch.tensor([0.0, 0.0, 0.5]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_another_forward_of_the_same_weights_is_refused(folder, monkeypatch, change):
    written = tiny.hashes(folder)
    answering(monkeypatch, change)
    with pytest.raises(RunError, match=r"answers otherwise, though its weights are the same.*--out"):
        audit(folder)
    assert tiny.hashes(folder) == written


def test_a_run_that_was_stopped_is_not_continued_with_another_forward(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        tiny.interrupt(patch, lambda condition: condition.kind == "corruption")
        with pytest.raises(KeyboardInterrupt):
            audit(tmp_path)
    answering(monkeypatch, CHANGES["scaled by a hundredth"])
    with pytest.raises(RunError, match="answers otherwise"):
        audit(tmp_path)


def test_rounding_is_no_other_answer(folder, monkeypatch):
    answering(monkeypatch, lambda logits: logits * (1 + 1e-5))
    assert audit(folder)[-1] == "checking the model and the data"


def test_answers_are_kept_as_values_of_noise_and_of_the_first_images(folder):
    found = read_json(folder / NAME)
    images, _ = tiny.images_and_labels(120)
    with torch.no_grad():
        expected = tiny.Net().eval()(images[:PROBES])
    assert found["sample_ids"] == [f"{row:06}" for row in range(PROBES)]
    torch.testing.assert_close(torch.tensor(found["logits"]), expected, atol=1e-4, rtol=0)
    assert torch.tensor(found["noise"]).shape == (PROBES, 3)
    assert found["noise"] != found["logits"]
    assert (found["device"], found["dtype"], found["repeatable"]) == ("cpu", "float32", True)


def test_where_no_answers_were_kept_the_records_tell(folder, monkeypatch):
    kept = read_json(folder / NAME)
    (folder / NAME).unlink()
    with monkeypatch.context() as patch:
        answering(patch, CHANGES["one class moved"])
        with pytest.raises(RunError, match="answers otherwise"):
            audit(folder)
    audit(folder)
    assert read_json(folder / NAME) == kept


def test_a_model_that_never_answers_twice_alike_cannot_be_known(tmp_path, monkeypatch):
    answering(monkeypatch, lambda logits: logits + torch.rand(len(logits), 3))
    audit(tmp_path)
    assert not read_json(tmp_path / NAME)["repeatable"]
    assert audit(tmp_path)[-1] == "checking the model and the data"


def test_other_versions_and_places_are_said_and_forbid_nothing(folder):
    for name, changes in (("run.json", {"versions": {"torch": "1.0"}}), (NAME, {"device": "cuda", "dtype": "float16"})):
        write_json(folder / name, read_json(folder / name) | changes)
        seal.seal_file(folder, name)
    written = tiny.hashes(folder)
    *_, versions, places = audit(folder)
    assert "torch 1.0 then" in versions
    assert "device cuda then, cpu now, dtype float16 then, float32 now" in places
    assert tiny.hashes(folder) == written


def test_run_json_is_restored_or_refused(folder):
    content = (folder / "run.json").read_bytes()
    (folder / "run.json").write_bytes(content.replace(b'"seed": 0', b'"seed": 1'))
    audit(folder)
    assert (folder / "run.json").read_bytes() == content
    (folder / "run.json").unlink()
    with pytest.raises(RunError, match=r"run\.json was changed since it was written.*--out"):
        audit(folder, tiny.classifier(sharpness=9.0))
    (folder / seal.FILE).unlink()
    shutil.copy(folder / NAME, folder / "run.json")
    with pytest.raises(RunError, match=r"run\.json must say of which model, data and plan"):
        audit(folder)
    (folder / "run.json").unlink()
    with pytest.raises(RunError, match=r"run\.json is gone, so nobody can tell which model"):
        audit(folder)
