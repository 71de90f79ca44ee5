"""EXIF says when a picture was taken; what it says wrongly or not at all is unknown."""

import io

import numpy as np
import pytest
from PIL import Image

from demur.data import from_tensors, open_data
from demur.data.capture_times import capture_time, capture_times, in_bursts


def photograph(taken=None, fraction=None):
    exif = Image.Exif()
    told = exif.get_ifd(0x8769)
    if taken is not None:
        told[0x9003] = taken
    if fraction is not None:
        told[0x9291] = fraction
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def test_the_time_is_read_to_the_fraction():
    first = capture_time(photograph("2026:11:30 12:00:00"))
    assert capture_time(photograph("2026:11:30 12:01:00", "25")) - first == pytest.approx(60.25)


@pytest.mark.parametrize("taken", [None, "", "0000:00:00 00:00:00", "yesterday", "2026-11-30 12:00:00"])
def test_what_is_no_time_is_unknown(taken):
    assert np.isnan(capture_time(photograph(taken)))


@pytest.mark.parametrize("content", [b"", b"no picture", photograph("2026:11:30 12:00:00")[:60]])
def test_what_is_no_picture_has_none(content):
    assert np.isnan(capture_time(content))


def test_pictures_in_files_have_times_and_tensors_none(tmp_path):
    for kind in ("cat", "dog"):
        for second in range(3):
            (tmp_path / kind).mkdir(exist_ok=True)
            (tmp_path / kind / f"{second}.jpg").write_bytes(photograph(f"2026:11:30 12:00:0{second}"))
    (tmp_path / "dog" / "2.jpg").write_bytes(photograph())
    source = open_data(f"folder:{tmp_path}")
    times = capture_times(source, [0, 2, 5])
    assert times[1] - times[0] == 2
    assert np.isnan(times[2])
    tensors = from_tensors(*_tensors(), classes=("a", "b"))
    assert np.isnan(capture_times(tensors, [0, 1])).all()


def _tensors():
    import torch

    return torch.rand(2, 1, 8, 8), torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("times", "count"),
    [
        ([0, 1, 2, 100, 200, 201], 5),
        ([0, 10, 20, 30], 0),
        ([5, 5, 5, 5], 0),
        ([5, 5, 5, 90, 91, 300, 400], 5),
        ([np.nan, 3], 0),
        ([], 0),
    ],
)
def test_bursts_are_pictures_within_two_seconds(times, count):
    assert in_bursts(np.array(times, np.float64)) == count
