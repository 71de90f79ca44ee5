"""The classifiers that come with demur: their files, their cards, what the verifiable one proves, how they are made."""

import hashlib
import importlib.util
import re
import struct
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import demur
from demur.adapters import load_model
from demur.attribution.explain_model import open_model
from demur.data import open_data
from demur.errors import InputError
from demur.pipeline.plan.plan_file import read_plan
from demur.proofs import bounds
from demur.registry import SHIPPED, names
from demur.registry.addresses import member_addresses
from demur.training.verifiable import IBP
from demur.zoo import VerifiableCNN

WEIGHTS = files("demur.zoo") / "weights"
TOOL = Path(__file__).parents[2] / "tools" / "weights.py"
NUMBERS = tuple(map(str, range(10)))


def test_there_are_files_of_every_shipped_classifier():
    assert set(SHIPPED) < set(names("model"))
    assert sorted(each.name for each in WEIGHTS.iterdir() if not each.name.startswith("__")) == sorted(
        f"{name}.{ending}" for name in SHIPPED for ending in ("md", "safetensors")
    )


@pytest.mark.parametrize("name", SHIPPED)
def test_the_card_is_of_these_weights(name):
    card, content = (WEIGHTS / f"{name}.md").read_text(), (WEIGHTS / f"{name}.safetensors").read_bytes()
    assert hashlib.sha256(content).hexdigest() in card
    assert f"{len(content):,} bytes" in card
    assert len(content) <= 500_000


@pytest.fixture(scope="module")
def images():
    """The first 2,000 test images, and their labels."""
    rows = list(open_data("fashion").read(range(2000)))
    return torch.stack([row.image for row in rows]), torch.tensor([row.label for row in rows])


def test_the_verifiable_one_proves_what_its_card_says(images):
    """The card is of all 10,000 images; these are the first 2,000 of them."""
    card, (x, y) = (WEIGHTS / "fashion_ibp.md").read_text(), images
    model = load_model("fashion_ibp", classes=NUMBERS, input_shape=(1, 28, 28))
    right = (model(x).argmax(dim=1) == y).float().mean().item()
    assert right == pytest.approx(float(re.search(r"\*\*([\d.]+) % \(.*right\*\*", card)[1]) / 100, abs=0.02)
    assert right > 0.75
    proven = dict(re.findall(r"^\| (0\.\d+) \| ([\d.]+) %", card, re.MULTILINE))
    assert set(proven) == {"0.0078", "0.0200", "0.0500", "0.1000"}
    found = bounds(model, x, y, 0.05).right.float().mean().item()
    assert found == pytest.approx(float(proven["0.0500"]) / 100, abs=0.025)


def test_it_goes_wherever_the_ordinary_one_goes():
    assert member_addresses("fashion,fashion_ibp") == ["fashion", "fashion_ibp"]
    assert open_model("fashion_ibp", []).input_shape == (1, 28, 28)
    with pytest.raises(InputError, match="named already"):
        open_model("fashion_ibp", [], Path("names.txt"))
    plans = [read_plan(None, [f"model.address='{name}'"]) for name in SHIPPED]
    assert plans[0].purpose == plans[1].purpose
    assert plans[0].purpose.demonstration
    assert read_plan(None, ["model.address='fashion_ibp'", "data.address='digits'"]).purpose.demonstration is None
    with pytest.raises(demur.errors.ModelError, match=r"'fashion_ibp' reads images of shape \(1, 28, 28\)"):
        load_model("fashion_ibp", classes=NUMBERS, input_shape=(3, 32, 32))


def idx(values):
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def test_the_tool_trains_what_ships(tmp_path):
    """On a few images, with a smaller net of the same kind; the card is not drawn."""
    spec = importlib.util.spec_from_file_location("weights_tool", TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert set(tool.NETS) == set(SHIPPED)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 28, 28), np.uint8)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(pixels))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx((np.arange(40) % 10).astype(np.uint8)))
    net = tool.Shipped(lambda: VerifiableCNN(width=2, hidden=4), IBP(epochs=2, batch=20), torch.get_num_threads())
    tool.train(net, tmp_path, tmp_path / "w.safetensors")
    module = tool.loaded(net, tmp_path / "w.safetensors")
    assert load_file(tmp_path / "w.safetensors").keys() == module.state_dict().keys()
    lines = list(tool.proven_lines(module, torch.rand(10, 1, 28, 28), torch.arange(10)))
    assert len(lines) == len(tool.SIZES)
