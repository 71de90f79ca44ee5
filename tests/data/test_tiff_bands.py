"""TIFF files of many bands, written here tag by tag, give their values back, each band by its own white."""

import io
import itertools
import re
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from demur.data import build_index, open_data
from demur.data.decoding import open_picture
from demur.data.tiff_bands import Head, _tags, bands_of, head_of
from demur.errors import AddressError
from demur.pictures.decode_rules import Rules
from demur.testing import check_data

BANDS = np.random.default_rng(0).integers(0, 4096, (4, 21, 34), dtype=np.uint16)


def tiff(bands, *, order="<", separate=False, packed=False, predictor=1, rows=8, tile=None, **others):
    """A file with these tags beside the ones it needs; `bands` are (bands, height, width)."""
    count, height, width = bands.shape
    planes = bands[:, :, :, None] if separate else bands.transpose(1, 2, 0)[None]
    blocks = []
    for plane in planes.astype(bands.dtype.newbyteorder(order)):
        high, wide = tile or (rows, width)
        for top, left in itertools.product(range(0, height, high), range(0, width, wide)):
            part = plane[top : top + high, left : left + wide]
            if tile:
                part = np.pad(part, ((0, high - part.shape[0]), (0, wide - part.shape[1]), (0, 0)))
            if predictor == 2:
                part = np.concatenate([part[:, :1], np.diff(part.astype(bands.dtype), axis=1)], axis=1)
                part = part.astype(bands.dtype.newbyteorder(order))
            content = part.tobytes()
            blocks.append(zlib.compress(content) if packed else content)
    kinds = {"u": 1, "i": 2, "f": 3}
    starts = np.cumsum([8, *map(len, blocks)])
    tags = {
        256: [width], 257: [height], 258: [8 * bands.itemsize] * count, 259: [8 if packed else 1], 262: [1],
        277: [count], 284: [2 if separate else 1], 317: [predictor], 338: [0] * max(0, count - 1),
        339: [kinds[bands.dtype.kind]] * count,
    }  # fmt: skip
    if tile:
        tags |= {322: [tile[1]], 323: [tile[0]], 324: starts[:-1].tolist(), 325: list(map(len, blocks))}
    else:
        tags |= {273: starts[:-1].tolist(), 278: [rows], 279: list(map(len, blocks))}
    tags |= {int(tag): value for tag, value in others.get("tags", {}).items()}
    body, extra = b"".join(blocks), b""
    place = 8 + len(body)
    directory, after = struct.pack(f"{order}H", len(tags)), place + 2 + 12 * len(tags) + 4
    for tag, values in sorted(tags.items()):
        packed_values = struct.pack(f"{order}{len(values)}I", *values)
        if len(packed_values) > 4:
            directory += struct.pack(f"{order}HHII", tag, 4, len(values), after + len(extra))
            extra += packed_values
        else:
            directory += struct.pack(f"{order}HHI", tag, 4, len(values)) + packed_values.ljust(4, b"\0")
    magic = b"II" if order == "<" else b"MM"
    return magic + struct.pack(f"{order}HI", 42, place) + body + directory + bytes(4) + extra


WAYS = [
    {"order": order, "separate": separate, "packed": packed, "predictor": predictor, "tile": tile}
    for order, separate, packed, predictor, tile in itertools.product(
        "<>", (False, True), (False, True), (1, 2), (None, (16, 16))
    )
]


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_every_layout_gives_the_values_back(way, kind):
    bands = BANDS.astype(kind)
    content = tiff(bands, **way)
    np.testing.assert_array_equal(bands_of(content, head_of(content)), bands)


@pytest.mark.parametrize("kind", ["tiff_lzw", "packbits", "tiff_adobe_deflate", "raw"])
@pytest.mark.parametrize("smooth", [True, False])
def test_what_pillow_packs_is_unpacked(kind, smooth):
    noise = np.random.default_rng(1).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    values = np.tile(np.arange(90, dtype=np.uint8)[None, :, None] // 7, (70, 1, 3)) if smooth else noise
    out = io.BytesIO()
    Image.fromarray(values).save(out, "TIFF", compression=kind)
    content = out.getvalue()
    assert head_of(content) is None  # Pillow shows it
    head = Head(order="<", tags=dict(_tags(content, "<", big=False)))
    np.testing.assert_array_equal(bands_of(content, head), values.transpose(2, 0, 1))


def test_each_band_has_a_white_of_its_own():
    whites = np.array([4095, 4095, 5000, 10000], np.float32)
    image, error = open_picture(tiff(BANDS), None, Rules(full_scale=tuple(map(float, whites))))
    assert error is None
    np.testing.assert_allclose(image, BANDS / whites[:, None, None], rtol=1e-6)
    same, _ = open_picture(tiff(BANDS), 4, Rules(full_scale=4095.0))
    np.testing.assert_allclose(same, BANDS / np.float32(4095), rtol=1e-6)


@pytest.mark.parametrize(
    ("bands", "channels", "rules", "says"),
    [
        (BANDS, None, Rules(), "may be of 10 or 12 bits"),
        (BANDS, None, Rules(full_scale=(1.0, 2.0)), "full_scale names 2 values of white for 4 bands"),
        (
            BANDS,
            None,
            Rules(full_scale=(4095.0, 4095.0, 99.0, 4095.0)),
            "band 3: pixels from .* outside 0 to full_scale=99",
        ),
        (BANDS.astype("f4"), None, Rules(), "have no known range"),
        (BANDS.astype("i2") - 99, None, Rules(full_scale=4095.0), "pixels from -99"),
        (BANDS, 3, Rules(full_scale=4095.0), "an image of 4 bands in a set of 3"),
        (BANDS, 1, Rules(full_scale=4095.0), "4 bands in a grey set"),
        (BANDS, None, Rules(full_scale=4095.0, channels=3), "an image of 4 bands in a set of 3"),
    ],
)
def test_bands_that_do_not_fit_are_rows_with_reasons(bands, channels, rules, says):
    image, error = open_picture(tiff(bands), channels, rules)
    assert image is None
    assert re.search(says, error)


def test_deep_colour_is_colour_and_grey():
    colour = tiff(BANDS[:3] * np.uint16(16))
    image, error = open_picture(colour, None)
    assert error is None
    np.testing.assert_allclose(image, BANDS[:3] * 16 / 65535, rtol=1e-5)
    grey, _ = open_picture(colour, None, Rules(channels=1))
    luma = (image * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(dim=0, keepdim=True)
    torch.testing.assert_close(grey, luma)


def test_bytes_need_no_white_and_colours_of_pillow_stay():
    four = (BANDS >> 4).astype(np.uint8)
    image, _ = open_picture(tiff(four), None)
    np.testing.assert_allclose(image, four / np.float32(255), rtol=1e-6)
    shown, _ = open_picture(tiff(four, tags={262: [2], 338: [0]}), None, Rules(channels=3))
    assert shown.shape[0] == 3


def test_a_transparent_deep_picture_is_refused():
    assert "with transparency" in open_picture(tiff(BANDS, tags={338: [2]}), None, Rules(full_scale=4095.0))[1]


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        ({259: [50000]}, "TIFF compression 50000"),
        ({317: [3]}, "TIFF predictor 3"),
        ({258: [16, 8, 16, 16]}, "samples of 8, 16 bits"),
        ({273: [8]}, "1 blocks where 3 are needed"),
        ({279: [0, 0, 0]}, "is cut short"),
        ({257: [60_000], 256: [60_000]}, "more than the"),
        ({277: [9_999_999]}, "more than the"),
    ],
)
def test_a_damaged_file_is_a_row_with_a_reason(tags, says):
    image, error = open_picture(tiff(BANDS, tags=tags), None, Rules(full_scale=4095.0))
    assert image is None
    assert says in error


def test_a_block_that_unpacks_to_more_takes_no_more_memory():
    bomb = zlib.compress(bytes(200 << 20))
    content = tiff(np.zeros((5, 8, 8), np.uint16), packed=True)
    head = head_of(content)
    planted = content + bomb
    tags = dict(head.tags) | {273: (len(content),), 279: (len(bomb),)}
    assert bands_of(planted, Head(order="<", tags=tags)).nbytes == 5 * 8 * 8 * 2


@pytest.fixture
def scenes(tmp_path):
    for number in range(8):
        path = tmp_path / "ab"[number % 2] / f"{number}.tif"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(tiff(np.random.default_rng(number).integers(0, 4096, (5, 12, 16), dtype=np.uint16)))
    return tmp_path


def test_a_folder_of_bands_is_a_set(scenes):
    (scenes / "a" / "grey.tif").write_bytes((scenes / "a" / "0.tif").read_bytes()[:99])
    Image.fromarray(np.zeros((12, 16), np.uint8)).save(scenes / "b" / "grey.png")
    address = f"folder:{scenes}?full_scale=4095,4095,4095,4095,10000&size=6x8&interpolation=bicubic"
    source = open_data(address)
    assert source.input_shape == (5, 6, 8)
    errors = [error for error in build_index(source).errors if error]
    assert len(errors) == 2
    (scenes / "a" / "grey.tif").unlink()
    (scenes / "b" / "grey.png").unlink()
    check_data(address)


@pytest.mark.parametrize("text", ["4095,", "4095,a", "0,1", "-1", "inf", "nan,2", ""])
def test_a_white_that_is_none_is_refused(text):
    with pytest.raises(AddressError, match="`full_scale` must be the value of white"):
        Rules.of({"full_scale": text})


def test_whites_are_written_as_they_are_read():
    rules = Rules.of({"full_scale": "4095,1.5,10000"})
    assert rules.options == {"full_scale": "4095,1.5,10000"}
    assert Rules.of(rules.options) == rules
