import re

import numpy as np
import pytest
import torch
from PIL import Image

from demur.data.pictures import decoded, opened

GREY = np.array([[0, 51], [102, 255]], dtype=np.uint8)


@pytest.mark.parametrize(
    ("picture", "channels", "shape"),
    [
        (Image.fromarray(GREY), None, (1, 2, 2)),
        (Image.fromarray(GREY), 3, (3, 2, 2)),
        (Image.fromarray(GREY.astype(np.uint16) * 257), None, (1, 2, 2)),
        (Image.fromarray(GREY.astype(np.uint16) * 257), 3, (3, 2, 2)),
        (Image.fromarray(GREY).convert("RGB"), None, (3, 2, 2)),
        (Image.fromarray(GREY).convert("RGBA"), 3, (3, 2, 2)),
    ],
)
def test_modes_keep_their_values(picture, channels, shape):
    image, error = decoded(picture, channels)
    assert error is None
    assert image.shape == shape
    torch.testing.assert_close(image[0], torch.tensor([[0, 0.2], [0.4, 1.0]]))
    torch.testing.assert_close(image[-1], image[0])


def test_black_and_white_is_zero_and_one():
    image, _ = decoded(Image.fromarray(GREY > 60), None)
    assert image.tolist() == [[[0.0, 0.0], [1.0, 1.0]]]


@pytest.mark.parametrize(
    ("picture", "channels", "says"),
    [
        (Image.new("RGB", (2, 2)), 1, r"a colour image \(mode RGB\) in a grey set"),
        (Image.new("F", (2, 2)), None, "no known range"),
        (Image.new("I", (2, 2)), 3, "no known range"),
    ],
)
def test_what_has_no_rule_is_an_error(picture, channels, says):
    image, error = decoded(picture, channels)
    assert image is None
    assert re.search(says, error)


def test_a_cut_file_is_an_error():
    assert opened(b"\x89PNG\r\n\x1a\n", None)[1].startswith("cannot decode the image")
