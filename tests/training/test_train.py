import hashlib
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tests.training.bars import CLASSES, Told, bars

from demur.adapters import load_model
from demur.adapters.weights import training_hashes
from demur.data import build_index
from demur.errors import DemurError, InputError, RunError
from demur.registry import build
from demur.training import batches, train, training_run
from demur.training.checkpoints import open_training

RECIPE = "standard(batch=32, epochs=3, learning_rate=0.05, shift=1)"
NETS = """
from torch import nn

def told(channels, classes):
    return nn.Sequential(nn.Conv2d(channels, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(216, classes))

def untold():
    return told(1, 2)

class Narrow(nn.Sequential):
    def __init__(self, classes=9):
        super().__init__(nn.Flatten(), nn.Linear(64, classes))
"""


@pytest.fixture(autouse=True)
def nets(tmp_path, monkeypatch):
    (tmp_path / "trainable.py").write_text(NETS)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("trainable", None)


def trained(out, architecture="module:trainable:told", source=None, **given):
    return train(architecture, source or bars(400), out=out, **{"recipe": RECIPE, **given})


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("model.*")}


def test_an_audit_can_load_what_comes_out_and_gets_the_same_accuracy(tmp_path):
    source = bars(400)
    done = trained(tmp_path / "out", source=source)
    model = load_model(done.address, classes=CLASSES, input_shape=(1, 8, 8))
    rest = build_index(source, exclude=training_hashes(done.weights))
    assert len(rest) == 400 - done.learned
    rows = list(source.read(rest.positions[rest.rows_of("tune")].tolist()))
    with torch.no_grad():
        predicted = model.logits(torch.stack([row.image for row in rows])).argmax(dim=1).tolist()
    accuracy = done.scores.accuracy
    assert accuracy.n == len(rows)
    assert accuracy.value == sum(k == row.label for k, row in zip(predicted, rows, strict=True)) / len(rows) > 0.9


def test_the_card_and_the_weights_say_where_they_come_from(tmp_path):
    done = trained(tmp_path / "out")
    card, manifest = (done.weights.with_suffix(end).read_bytes() for end in (".md", ".manifest"))
    with safe_open(done.weights, framework="pt") as file:
        said = file.metadata()
    assert said == {
        "architecture": "module:trainable:told",
        "classes": "top,bottom",
        "input_shape": "1,8,8",
        "recipe": RECIPE,
        "manifest_sha256": hashlib.sha256(manifest).hexdigest(),
    }
    for text in (RECIPE, said["manifest_sha256"], hashlib.sha256(done.weights.read_bytes()).hexdigest(), done.address,
                 "| top |", "Not declared.", f"{done.learned} |", "Seed 0"):  # fmt: skip
        assert text in card.decode()
    lines = manifest.decode().split()
    assert lines == sorted(lines)
    assert len(lines) == done.learned


def test_two_trainings_leave_the_same_bytes(tmp_path):
    trained(tmp_path / "one")
    trained(tmp_path / "two")
    first, second = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert first["model.safetensors"] == second["model.safetensors"]
    assert first["model.manifest"] == second["model.manifest"]


def test_a_finished_training_stays_as_it_is(tmp_path):
    card = trained(tmp_path).weights.with_suffix(".md")
    card.write_text(card.read_text().replace("Not declared.", "Sorting bars.", 1))
    before = contents(tmp_path)
    trained(tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"recipe": "standard(epochs=4)"}, r"recipe: standard\(batch=32, .*\) before, standard\(epochs=4\) now"),
        ({"seed": 1}, "untrained network: .*; seed: 0 before, 1 now"),
        ({"architecture": "module:trainable:untold"}, "architecture: module:trainable:told before"),
        ({"source": bars(402)}, "images and labels: .* before"),
    ],
)
def test_a_folder_of_another_training_is_refused_unless_it_is_given_up(changes, says, tmp_path):
    trained(tmp_path)
    with pytest.raises(RunError, match=f"belongs to another training .*{says}.*--restart"):
        trained(tmp_path, **changes)
    if "seed" in changes:
        trained(tmp_path, restart=True, **changes)
        trained(tmp_path / "new", **changes)
        assert contents(tmp_path)["model.safetensors"] == contents(tmp_path / "new")["model.safetensors"]


def test_two_trainings_at_once_are_refused(tmp_path):
    with open_training(tmp_path, {}, restart=False), pytest.raises(RunError, match="another process is writing into"):
        trained(tmp_path)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write the folder .* Choose another with --out"):
        trained(tmp_path / "file" / "out")


def test_nothing_is_augmented_when_it_is_measured(tmp_path, monkeypatch):
    viewed, measured = [], []
    view, judge = batches.random_shift, training_run.evaluate

    def shifted(*arguments):
        viewed.append(arguments)
        return view(*arguments)

    def watched(*arguments):
        before = len(viewed)
        found = judge(*arguments)
        measured.append(len(viewed) - before)
        return found

    monkeypatch.setattr("demur.training.recipe.random_shift", shifted)
    monkeypatch.setattr("demur.training.training_run.evaluate", watched)
    trained(tmp_path)
    assert measured == [0]
    assert len(viewed) == 3 * (build_learned() // 32)


def build_learned():
    from demur.training.training_task import split

    return len(split(build_index(bars(400))).learned)


def test_normalisation_is_inside_training_and_address(tmp_path):
    plain = trained(tmp_path / "plain")
    scaled = trained(tmp_path / "scaled", "module:trainable:told?mean=0.5&std=0.25")
    assert scaled.address.endswith("model.safetensors?mean=0.5&std=0.25")
    assert scaled.scores.accuracy.value > 0.9
    first, second = load_file(plain.weights), load_file(scaled.weights)
    assert first.keys() == second.keys()
    assert not torch.equal(first["0.weight"], second["0.weight"])
    with safe_open(scaled.weights, framework="pt") as file:
        assert (file.metadata()["mean"], file.metadata()["std"]) == ("0.5", "0.25")


def test_a_training_can_start_from_weights(tmp_path):
    first = trained(tmp_path / "first")
    recipe = "standard(batch=32, epochs=1, learning_rate=1e-9, weight_decay=0.0)"
    second = trained(tmp_path / "second", f"module:trainable:told@{first.weights}", recipe=recipe)
    before, after = load_file(first.weights), load_file(second.weights)
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)


def test_a_factory_is_told_what_it_asks_for(tmp_path):
    assert load_file(trained(tmp_path, "module:trainable:Narrow").weights)["1.weight"].shape == (2, 64)


def test_without_rows_to_look_at_nothing_is_measured(tmp_path):
    source = Told(bars(40), ["train"] * 30 + ["certify"] * 5 + ["test"] * 5)
    done = trained(tmp_path, source=source)
    assert done.scores is None
    assert "Nothing was measured" in done.weights.with_suffix(".md").read_text()


@pytest.mark.parametrize(
    ("architecture", "says"),
    [
        ("resnet21", "unknown architecture 'resnet21'. Did you mean 'resnet20'"),
        ("module:trainable:toldd", "unknown factory 'toldd'. Did you mean 'told'"),
        ("resnet20?channels=3", "unknown option 'channels'"),
        ("fashion:", "is a finished classifier. Name an architecture to train: one of compact_resnet"),
        ("module:trainable:told@nowhere.safetensors", "no weights at 'nowhere.safetensors'"),
    ],
)
def test_an_architecture_that_is_none_is_refused(architecture, says, tmp_path):
    with pytest.raises(InputError, match=says):
        trained(tmp_path, architecture)


@pytest.mark.parametrize("recipe", ["standart", "standard(epoch=3)", "standard(epochs='3')"])
def test_a_recipe_that_is_none_is_refused(recipe, tmp_path):
    with pytest.raises(DemurError):
        trained(tmp_path, recipe=recipe)


def test_the_default_folder_is_found_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, again, other = (trained(None, seed=seed).weights.parent for seed in (0, 0, 1))
    assert first == again != other
    assert first.parent.name == "models"
    assert first.name.startswith("told-bars-")


def test_recipes_are_found_by_name():
    assert build("recipe", "standard(epochs=2)").epochs == 2
