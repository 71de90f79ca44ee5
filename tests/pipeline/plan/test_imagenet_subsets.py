"""The plans of 50 and 100 classes of ImageNet: who learns from which images, what is asked, and that it can be."""

import csv
import importlib.util
import os
from collections import Counter
from functools import partial
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import save_file

from demur.data import open_data
from demur.pipeline.plan.plan_file import read_plan
from demur.pipeline.plan.resolve import resolve
from demur.pipeline.run.prepare import written_out
from demur.signals.conductance import Conductance
from demur.signals.label_change_rate import LabelChangeRate
from demur.signals.stack import Stack
from demur.training import fresh
from demur.zoo import SimpleCNN

FOLDER = Path(__file__).parents[3] / "examples/reference-systems"
PLANS = {count: FOLDER / f"004-imagenet-{count}.toml" for count in (50, 100)}


@pytest.fixture
def subset(monkeypatch):
    """The script, with three images of a class that teach, two, one and one behind them."""
    spec = importlib.util.spec_from_file_location("imagenet_subset", FOLDER / "imagenet_subset.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (module.LEARNED, module.FIT, module.TUNE) == ({50: 500, 100: -150}, {50: 200, 100: 75}, 50)
    monkeypatch.setattr(module, "LEARNED", {50: 3, 100: -4})
    monkeypatch.setattr(module, "FIT", {50: 2, 100: 2})
    monkeypatch.setattr(module, "TUNE", 1)
    return module


def imagenet(folder, classes, train, val, draw=lambda _: b""):
    for number in range(classes):
        for part, count in (("train", train), ("val", val)):
            place = folder / part / f"n{number:08}"
            place.mkdir(parents=True)
            for image in range(count):
                (place / f"{part}{number}_{image:05}.png").write_bytes(draw(number))
    return folder


def table(module, monkeypatch, source, count, target):
    monkeypatch.setattr("sys.argv", ["imagenet_subset.py", str(source), str(count), str(target)])
    module.main()
    return list(csv.DictReader(target.read_text().splitlines()))


def picture(number):
    file = BytesIO()
    Image.new("RGB", (16, 16), (4 * number, 255 - 4 * number, number)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("count", PLANS)
def test_no_image_serves_two_ends_and_those_that_judge_are_imagenets_own(count, subset, monkeypatch, tmp_path):
    source = imagenet(tmp_path / "imagenet", classes=count + 5, train=8, val=2)
    rows = table(subset, monkeypatch, source, count, tmp_path / "images.csv")
    assert len({row["path"] for row in rows}) == len(rows)
    assert all((source / row["path"]).is_file() for row in rows)
    assert Counter(row["split"] for row in rows) == {
        "train": (3 if count == 50 else 4) * count,
        "fit": 2 * count,
        "tune": count,
        "certify": count,
        "test": 2 * count,
    }
    assert all(row["path"].startswith("val/") == (row["split"] == "test") for row in rows)
    assert all(row["path"].split("/")[1] == row["label"] for row in rows)
    classes = {row["label"] for row in rows}
    assert len(classes) == count
    assert sorted(classes) != sorted(path.name for path in (source / "val").iterdir())[:count]
    assert rows == table(subset, monkeypatch, source, count, tmp_path / "again.csv")


def test_the_two_plans_differ_in_their_images_alone():
    small, large = (path.read_text().splitlines() for path in PLANS.values())
    for number, (one, other) in enumerate(zip(small, large, strict=True), 1):
        assert number == 3 or one.replace("imagenet-50", "imagenet-100").replace("50 classes", "100 classes") == other
    for count, path in PLANS.items():
        model, data = read_plan(path).model.address, read_plan(path).data.address
        assert model == f"torchvision:inception_v3@imagenet-{count}/net/model.safetensors?transform_input=yes"
        assert data == f"csv:imagenet-{count}/images.csv?root=../imagenet"


def test_the_plan_asks_what_the_system_asked_and_can_be_resolved(subset, monkeypatch, tmp_path):
    """By a small net, for the system's own has a test among those of other libraries."""
    source = imagenet(tmp_path / "imagenet", classes=55, train=7, val=1, draw=picture)
    table(subset, monkeypatch, source, 50, tmp_path / "images.csv")
    save_file(fresh(partial(SimpleCNN, classes=50), 0).state_dict(), tmp_path / "net.safetensors")
    named = read_plan(PLANS[50])
    plan = named.model_copy(
        update={
            "model": named.model.model_copy(update={"address": f"zoo:simple_cnn@{tmp_path / 'net.safetensors'}"}),
            "data": named.data.model_copy(update={"address": f"csv:{tmp_path / 'images.csv'}?root={source}"}),
        }
    )
    written, notes = written_out(plan)
    assert not notes
    assert written.signals.use == plan.signals.use
    setup = resolve(plan, open_data(plan.data.address))
    signals = list(setup.signals.values())
    rates = [signal for signal in signals if isinstance(signal, LabelChangeRate)]
    assert {(rate.operator, rate.gamma, rate.mutants, rate.kept, rate.stopping) for rate in rates} == {
        (operator, 0.002, 100, 0.9, "never") for operator in ("nai", "gf")
    }
    detectors = [signal for signal in signals if isinstance(signal, Conductance)]
    assert {detector.estimator for detector in detectors} == {"mlp", "random_forest", "lda", "qda"}
    assert all(not detector.layers and not detector.layer for detector in detectors)  # the maps before the head
    (both,) = [signal for signal in signals if isinstance(signal, Stack)]
    assert [type(part) for part in both.signals] == [Conductance, LabelChangeRate]
    assert both.signals[1].gamma == 0.002
    assert {policy.signal for policy in setup.policies.values() if hasattr(policy, "method")} <= set(setup.signals)
    assert sum(getattr(policy, "method", "") == "balanced_recall" for policy in setup.policies.values()) == 3


@pytest.mark.shared
@pytest.mark.skipif("DEMUR_SHARED" not in os.environ, reason="needs DEMUR_SHARED")
def test_tiny_imagenet_is_shared_out_by_class(subset, monkeypatch, tmp_path):
    source = Path(os.environ["DEMUR_SHARED"]) / "data/tiny-imagenet"
    rows = table(subset, monkeypatch, source, 50, tmp_path / "images.csv")
    assert len({(row["label"], row["split"]) for row in rows}) == 200
    assert Counter(row["split"] for row in rows) == {"fit": 200, "tune": 100, "certify": 50, "test": 150}
    named = dict(line.split("\t")[:2] for line in (source / "val/val_annotations.txt").read_text().splitlines())
    assert all(named[Path(row["path"]).name] == row["label"] for row in rows)
