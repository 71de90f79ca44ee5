import io
import re
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from demur.data.decoding import decode_picture, open_picture
from demur.pictures.decode_rules import Rules

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
    image, error = decode_picture(picture, channels)
    assert error is None
    assert image.shape == shape
    torch.testing.assert_close(image[0], torch.tensor([[0, 0.2], [0.4, 1.0]]))
    torch.testing.assert_close(image[-1], image[0])


def test_black_and_white_is_zero_and_one():
    image, _ = decode_picture(Image.fromarray(GREY > 60), None)
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
    image, error = decode_picture(picture, channels)
    assert image is None
    assert re.search(says, error)


def test_a_cut_file_is_an_error():
    assert open_picture(b"\x89PNG\r\n\x1a\n", None)[1].startswith("cannot decode the image")


def saved(picture, form="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def values(content, in_set=None, /, **rules):
    image, error = open_picture(content, in_set, Rules(**rules))
    assert error is None, error
    return image


def test_transparent_is_laid_over_black():
    half = Image.fromarray(np.array([[[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 50, 51]]], np.uint8))
    torch.testing.assert_close(
        (values(saved(half)) * 255).round()[:, 0], torch.tensor([[200.0, 0, 40], [100, 0, 20], [50, 0, 10]])
    )
    grey = Image.fromarray(np.array([[[200, 255], [200, 0]]], np.uint8), "LA")
    assert (values(saved(grey)) * 255).tolist() == [[[200.0, 0.0]]]


def test_palettes_and_their_transparency():
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.putdata([0, 1])
    assert values(saved(palette))[:, 0].tolist() == [[1, 0], [0, 1], [0, 0]]
    assert values(saved(palette, transparency=0))[:, 0].tolist() == [[0, 0], [0, 1], [0, 0]]


def test_cmyk_is_rgb():
    picture = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert values(saved(picture, "TIFF"))[:, 0, 0].tolist() == [1, 0, 0]


def test_exif_turns_the_picture():
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = values(saved(Image.fromarray(np.array([[10, 20, 30]], np.uint8)), exif=exif))
    assert (turned * 255).round().tolist() == [[[10], [20], [30]]]


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_twelve_bits_are_never_divided_by_65535(form):
    twelve = saved(Image.fromarray(np.array([[0, 1024, 4095]], np.uint16)), form)
    image, error = open_picture(twelve, None)
    assert image is None
    assert "full_scale=4095" in error
    torch.testing.assert_close(values(twelve, full_scale=4095), torch.tensor([[[0, 1024 / 4095, 1]]]))
    torch.testing.assert_close(values(twelve, 3, full_scale=65535)[1], torch.tensor([[0, 1024 / 65535, 4095 / 65535]]))
    assert "outside 0 to full_scale=1023" in open_picture(twelve, None, Rules(full_scale=1023))[1]


def test_sixteen_bits_are_divided_by_65535():
    sixteen = saved(Image.fromarray(np.array([[0, 4096, 65535]], np.uint16)))
    torch.testing.assert_close(values(sixteen), torch.tensor([[[0, 4096 / 65535, 1]]]))


def test_floats_have_a_range_only_when_told():
    floats = saved(Image.fromarray(np.array([[0.0, 50.0, 100.0]], np.float32)), "TIFF")
    assert "no known range" in open_picture(floats, None)[1]
    assert values(floats, full_scale=100).tolist() == [[[0, 0.5, 1]]]
    infinite = saved(Image.fromarray(np.array([[0.0, np.inf]], np.float32)), "TIFF")
    assert "not finite" in open_picture(infinite, None, Rules(full_scale=100))[1]


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width, height, depth, colour, body):
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


def test_deep_colour_is_an_error_instead_of_a_silent_loss():
    assert "more than 8 bits per colour" in open_picture(png(1, 1, 16, 2, bytes(7)), None)[1]


def test_a_decompression_bomb_is_an_error():
    assert "exceeds limit" in open_picture(png(10_000, 9_000, 8, 0, bytes(1000)), None)[1]
    assert "exceeds limit" in open_picture(png(60_000, 60_000, 8, 0, bytes(1000)), None)[1]


def test_other_programs_are_never_called():
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"
    assert open_picture(program, None)[1] == "cannot decode the image: cannot identify image file"


GOOD = {form: saved(Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)), form)
        for form in ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP")}  # fmt: skip


@pytest.mark.parametrize("form", GOOD)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_cut_picture_is_an_error(form, share):
    image, error = open_picture(GOOD[form][: int(len(GOOD[form]) * share)], None)
    assert (image is None) == (error is not None)
    if form in ("JPEG", "PNG"):
        assert error.startswith("cannot decode")


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(GOOD)), st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=8))
def test_damage_is_a_picture_or_a_reason_and_never_a_traceback(form, damage):
    content = bytearray(GOOD[form])
    for place, value in damage:
        content[int(place * len(content))] = value
    image, error = open_picture(bytes(content), None)
    assert (image is None) == (error is not None)
    if image is not None:
        assert 0 <= image.min() <= image.max() <= 1


def test_a_size_is_reached_by_stretching_or_by_cutting():
    wide = np.zeros((10, 30), np.uint8)
    wide[:, 10:20] = 255
    content = saved(Image.fromarray(wide))
    assert values(content, size=(10, 10), crop=True).unique().tolist() == [1]
    stretched = values(content, size=(10, 10))
    assert stretched.shape == (1, 10, 10)
    assert stretched[0, 0, 0] == 0
    assert stretched.mean() == pytest.approx(1 / 3, abs=0.01)
    assert values(content, size=(5, 15)).shape == (1, 5, 15)


def test_scaling_down_averages():
    board = np.indices((64, 64)).sum(0) % 2 * 255
    shrunk = values(saved(Image.fromarray(board.astype(np.uint8))), size=(8, 8))
    torch.testing.assert_close(shrunk, torch.full((1, 8, 8), 0.5), atol=0.02, rtol=0)
    deep = values(saved(Image.fromarray((board * 257).astype(np.uint16))), size=(8, 8))
    torch.testing.assert_close(deep, shrunk, atol=0.02, rtol=0)


def test_colour_is_made_grey_only_when_asked():
    red = saved(Image.new("RGB", (2, 2), (255, 0, 0)))
    assert values(red, 1, channels=1).unique().tolist() == pytest.approx([76 / 255])
    assert values(saved(Image.new("L", (2, 2), 51)), channels=3).shape == (3, 2, 2)


def test_what_is_transparent_lies_over_what_is_named():
    half = saved(Image.fromarray(np.array([[[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 50, 51]]], np.uint8)))
    white, alone = ((values(half, alpha=alpha) * 255).round()[0, 0].tolist() for alpha in ("white", "ignore"))
    assert white == [200, 255, 244]
    assert alone == [200, 200, 200]


def test_the_orientation_can_be_ignored():
    exif = Image.Exif()
    exif[0x0112] = 6
    content = saved(Image.fromarray(np.array([[10, 20, 30]], np.uint8)), exif=exif)
    assert values(content).shape == (1, 3, 1)
    assert (values(content, unturned=True) * 255).round().tolist() == [[[10, 20, 30]]]
