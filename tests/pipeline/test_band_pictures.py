"""What a report shows and says of images that are neither grey nor colour."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from demur.classifier import BoundClassifier
from demur.data import from_tensors
from demur.data.decoded_list import DecodedListSource
from demur.data.dicom import Window
from demur.pictures.decode_rules import Rules
from demur.pipeline.preprocessing_lines import preprocessing_lines
from demur.pipeline.run.extra_facts import webp


def lines(source):
    channels = source.input_shape[0]
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 2)).eval()
    model = BoundClassifier(net, classes=("a", "b"), input_shape=source.input_shape, mean=(0.5,) * channels)
    return preprocessing_lines(None, model, source)


@pytest.mark.parametrize(
    ("channels", "says"),
    [
        (1, None),
        (2, "the first of 2 channels as grey"),
        (3, None),
        (5, "channels 1, 2 and 3 of 5 as red, green and blue"),
    ],
)
def test_what_is_shown_of_many_channels_is_said(channels, says):
    images = torch.rand(4, channels, 6, 7, generator=torch.Generator().manual_seed(0))
    found = lines(from_tensors(images, torch.tensor([0, 1, 0, 1]), classes=("a", "b")))
    about = [line.removeprefix("pictures in this report show ") for line in found if line.startswith("pictures")]
    assert about == ([] if says is None else [says])
    picture = np.asarray(Image.open(io.BytesIO(webp(images[0]))).convert("RGB"), np.float64)
    assert (np.ptp(picture, axis=2).mean() < 1) == (channels < 3)  # grey of one or two, colour of the first three


def test_white_and_the_window_are_said():
    assert Rules(full_scale=(4095.0, 10000.0)).sentence == "size as it is, white at 4095, 10000"
    image = torch.zeros(1, 6, 7)
    source = DecodedListSource(
        "dicom:x", ("a", "b"), (1, 6, 7), (), lambda *_: (image, None), Rules(), Window.of("file").sentence
    )
    assert lines(source)[0] == (
        "images: values of the modality in the first window of each file, MONOCHROME1 inverted; size as it is; "
        "1 × 6 × 7 in [0, 1]"
    )
