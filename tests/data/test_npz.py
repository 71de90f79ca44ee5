import zipfile

import numpy as np
import pytest
import torch

from demur.data import build_index, open_data
from demur.errors import AddressError, DataError

GREY = np.random.default_rng(0).integers(0, 256, (6, 4, 5), np.uint8)
RGB = np.random.default_rng(1).integers(0, 256, (6, 4, 5, 3), np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


@pytest.fixture(params=[np.savez, np.savez_compressed], ids=["stored", "compressed"])
def write(request, tmp_path):
    def written(**arrays):
        request.param(tmp_path / "set.npz", **arrays)
        return f"npz:{tmp_path / 'set.npz'}"

    return written


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (GREY, GREY[:, None] / 255),
        (RGB, RGB.transpose(0, 3, 1, 2) / 255),
        (RGB.transpose(0, 3, 1, 2).copy(), RGB.transpose(0, 3, 1, 2) / 255),
        (GREY[..., None], GREY[:, None] / 255),
        (GREY.astype(np.uint16) * 257, GREY[:, None] / 255),
        (RGB / 255, RGB.transpose(0, 3, 1, 2) / 255),
        ((RGB.transpose(0, 3, 1, 2) / 255).astype(np.float16), RGB.transpose(0, 3, 1, 2) / 255),
    ],
)
def test_what_was_written_is_read(write, images, expected):
    source = open_data(write(images=images, labels=LABELS))
    assert source.input_shape == expected.shape[1:]
    assert source.classes == ("0", "1", "2")
    for position, row in zip([5, 0, 3], source.read([5, 0, 3]), strict=True):
        assert row.label == LABELS[position]
        expected_row = torch.tensor(expected[position], dtype=torch.float32)
        torch.testing.assert_close(row.image, expected_row, atol=1e-3 if images.dtype == np.float16 else 1e-6, rtol=0)


def test_groups_and_split_and_names_are_read(write):
    splits = np.array(["train", "test", "test", "val", "test", "train"])
    address = write(images=GREY, labels=np.array(["dog", "cat"] * 3), groups=np.array([1, 2, 2, 3, 4, 1]), split=splits)
    rows = list(open_data(address).read(range(6)))
    assert open_data(address).classes == ("cat", "dog")
    assert [row.group for row in rows] == ["1", "2", "2", "3", "4", "1"]
    assert [row.split for row in rows] == splits.tolist()
    picked = open_data(address + "?split=test")
    assert [row.sample_id for row in picked.read(range(3))] == ["000001", "000002", "000004"]
    torch.testing.assert_close(next(picked.read([2])).image, rows[4].image)


def test_rules_hold_for_arrays_too(write):
    twelve = (GREY.astype(np.uint16) * 16).clip(max=4095)
    address = write(images=twelve, labels=LABELS)
    with pytest.raises(DataError, match="full_scale=4095"):
        build_index(open_data(address))
    scaled = next(open_data(address + "?full_scale=4095&size=2&colour=rgb").read([0])).image
    assert scaled.shape == (3, 2, 2)
    plain = next(open_data(address + "?full_scale=4095").read([0])).image
    torch.testing.assert_close(plain[0], torch.tensor(twelve[0] / 4095, dtype=torch.float32))


@pytest.mark.parametrize(
    ("arrays", "query", "error", "says"),
    [
        ({"labels": LABELS}, "", DataError, "no array 'images'"),
        ({"images": GREY, "labels": LABELS[:5]}, "", DataError, "6 images and 5 labels"),
        ({"images": GREY.astype(np.int32), "labels": LABELS}, "", DataError, "are int32; store uint8"),
        ({"images": GREY[0], "labels": LABELS[:4]}, "", DataError, r"have the shape \(4, 5\)"),
        ({"images": np.zeros((6, 3, 5, 3), np.uint8), "labels": LABELS}, "", DataError, "last or second"),
        ({"images": GREY, "labels": LABELS}, "?layout=nchw", DataError, "have the shape"),
        ({"images": GREY, "labels": LABELS}, "?layout=hwc", AddressError, "must be nhwc"),
        ({"images": GREY / 255, "labels": LABELS}, "?size=3", AddressError, "stored as floats"),
        (
            {"images": GREY, "labels": np.eye(6)[:, :4]},
            "",
            DataError,
            "is multi-label: the array 'labels' has 4 columns",
        ),
        ({"images": GREY, "labels": GREY}, "", DataError, "is a segmentation set"),
        ({"images": GREY, "labels": LABELS + 0.5}, "", DataError, "is a regression set: the label 0.5"),
        ({"images": np.asfortranarray(GREY), "labels": LABELS}, "", DataError, "ascontiguousarray"),
        ({"images": GREY, "labels": np.array([0, 1, 2, 3, 4, "x"], object)}, "", DataError, "Python objects"),
    ],
)
def test_unusable_archives_are_refused(write, arrays, query, error, says):
    with pytest.raises(error, match=says):
        open_data(write(**arrays) + query)


def test_an_ambiguous_layout_can_be_told(write):
    images = np.random.default_rng(2).integers(0, 256, (6, 3, 5, 3), np.uint8)
    address = write(images=images, labels=LABELS)
    assert open_data(address + "?layout=nhwc").input_shape == (3, 3, 5)
    assert open_data(address + "?layout=nchw").input_shape == (3, 5, 3)


def test_damaged_archives_are_refused(tmp_path):
    for name, content in (("text", b"no archive"), ("empty", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=r"cannot read .* as an NPZ archive"):
            open_data(f"npz:{tmp_path / name}")
    with zipfile.ZipFile(tmp_path / "short.npz", "w") as archive:
        np.save(tmp_path / "images.npy", GREY)
        archive.writestr("images.npy", (tmp_path / "images.npy").read_bytes()[:-50])
    with pytest.raises(DataError, match="it is cut short"):
        open_data(f"npz:{tmp_path / 'short.npz'}")


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
def test_bands_are_read_where_the_layout_is_named(write, layout):
    bands = np.random.default_rng(2).integers(0, 4096, (6, 4, 8, 5)).astype(np.uint16)
    address = write(images=bands if layout == "nhwc" else bands.transpose(0, 3, 1, 2), labels=LABELS)
    source = open_data(f"{address}?layout={layout}&full_scale=4095,4095,4095,5000,10000")
    assert source.input_shape == (5, 4, 8)
    white = np.array([4095, 4095, 4095, 5000, 10000], np.float32)
    expected = (bands[3] / white).transpose(2, 0, 1).astype(np.float32)
    torch.testing.assert_close(next(source.read([3])).image, torch.tensor(expected))
    with pytest.raises(DataError, match=r"Of more bands \?layout=nhwc or nchw says where"):
        open_data(address)


def test_bytes_of_bands_and_deep_colour_are_read(write):
    four = np.random.default_rng(3).integers(0, 256, (6, 4, 8, 4), np.uint8)
    image = next(open_data(write(images=four, labels=LABELS) + "?layout=nhwc").read([1])).image
    torch.testing.assert_close(image, torch.tensor(four[1]).permute(2, 0, 1) / 255)
    deep = RGB.astype(np.uint16) * 257
    image = next(open_data(write(images=deep, labels=LABELS)).read([1])).image
    torch.testing.assert_close(image, torch.tensor(RGB[1]).permute(2, 0, 1) / 255)
