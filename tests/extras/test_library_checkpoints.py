"""Checkpoints of training loops behind the addresses of other libraries: their heads are counted, and it is said."""

import pytest
import torch

from demur.adapters import load_model
from demur.adapters.declarations import declared

timm = pytest.importorskip("timm")
torchvision = pytest.importorskip("torchvision")

CLASSES = [f"kind {k}" for k in range(7)]
MODELS = {
    "timm:resnet10t.c3_in1k": lambda: timm.create_model("resnet10t", pretrained=False, num_classes=7),
    "torchvision:squeezenet1_1": lambda: torchvision.models.squeezenet1_1(num_classes=7),
}


@pytest.mark.parametrize("address", MODELS)
def test_a_checkpoint_of_a_parallel_training_is_read(tmp_path, address):
    torch.manual_seed(0)  # noqa: TID251 - its weights
    net = MODELS[address]().eval()
    state = {f"module.{name}": tensor for name, tensor in net.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "w.pth.tar")
    whole = f"{address}@{tmp_path / 'w.pth.tar'}"
    assert declared(whole).outputs == 7
    classifier = load_model(whole, classes=CLASSES, input_shape=(3, 64, 64))
    x = torch.rand(2, 3, 64, 64)
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (classifier.contract.mean, classifier.contract.std))
    torch.testing.assert_close(classifier(x), net((x - mean) / std), atol=1e-5, rtol=1e-5)
    assert "found under 'state_dict', with 'module.'" in "".join(classifier.notes)
