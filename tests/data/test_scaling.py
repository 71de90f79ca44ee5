"""Pictures are cut and scaled as Pillow, torchvision and Keras do it, each by a slow copy of its own way."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from demur.data.decoding import decode_picture
from demur.data.scaling import scaled
from demur.pictures.decode_rules import INTERPOLATIONS, Rules

SIZES = [(300, 401), (401, 300), (64, 64), (257, 511), (1, 90), (90, 1), (37, 1000)]
"""Height and width."""


def noise(height, width, mode="RGB"):
    values = np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(values).convert(mode)


def torchvision_way(picture, resize, size, interpolation):
    """`Resize(resize)` and `CenterCrop(size)` of torchvision, spelled out."""
    wide, high = picture.size
    if wide <= high:
        wide, high = resize, int(resize * high / wide)
    else:
        wide, high = int(resize * wide / high), resize
    whole = picture.resize((wide, high), Image.Resampling[interpolation.upper()])
    top, left = round((high - size) / 2.0), round((wide - size) / 2.0)
    return whole.crop((left, top, left + size, top + size))


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("picture", SIZES, ids=str)
def test_a_short_side_is_scaled_and_the_middle_cut_as_torchvision_does(picture, interpolation):
    image = noise(*picture)
    rules = Rules(size=(21, 21), resize=24, crop=True, interpolation=interpolation)
    assert np.array_equal(scaled(image, rules), torchvision_way(image, 24, 21, interpolation))


def test_both_sides_can_be_stretched_before_the_cut():
    image, rules = noise(50, 70), Rules(size=(24, 20), resize=(32, 32), crop=True, interpolation="bicubic")
    whole = image.resize((32, 32), Image.Resampling.BICUBIC)
    assert np.array_equal(scaled(image, rules), whole.crop((6, 4, 26, 28)))


def keras_way(image, size, interpolation):
    """`load_img(keep_aspect_ratio=True)` of Keras, spelled out."""
    wide, high = image.size
    crop_high, crop_wide = min(high, (wide * size[0]) // size[1]), min(wide, (high * size[1]) // size[0])
    top, left = (high - crop_high) // 2, (wide - crop_wide) // 2
    box = (left, top, left + crop_wide, top + crop_high)
    return image.resize((size[1], size[0]), Image.Resampling[interpolation.upper()], box=box)


@pytest.mark.parametrize("picture", [(300, 401), (401, 300), (257, 511), (37, 1000)], ids=str)
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_a_cut_at_whole_pixels_is_that_of_keras(picture, interpolation):
    image, size = noise(*picture), (24, 36)
    found = scaled(image, Rules(size=size, crop=True, floor=True, interpolation=interpolation))
    assert np.array_equal(found, keras_way(image, size, interpolation))


def test_halves_of_pixels_are_rounded_by_choice():
    image = noise(25, 25)
    even, down = (scaled(image, Rules(size=(22, 22), resize=25, crop=True, floor=floor)) for floor in (False, True))
    assert np.array_equal(even, image.crop((2, 2, 24, 24)))  # 1.5 goes to the even 2
    assert np.array_equal(down, image.crop((1, 1, 23, 23)))


def test_black_is_added_where_a_picture_is_too_small():
    image = Image.new("RGB", (4, 8), (255, 255, 255))
    found = np.asarray(scaled(image, Rules(size=(8, 7), resize=4, crop=True)))[..., 0] / 255
    assert found.shape == (8, 7)
    assert found.sum(axis=0).tolist() == [0, 8, 8, 8, 8, 0, 0]


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_torch_scales_as_it_scales_floats_to_within_two_steps(interpolation, antialias, mode):
    image = Image.fromarray(np.asarray(noise(6, 9)), "RGB").resize((90, 60), Image.Resampling.BILINEAR).convert(mode)
    rules = Rules(
        size=(20, 20), resize=22, crop=True, interpolation=interpolation, resizer="torch", antialias=antialias
    )
    floats = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None].float()
    whole = interpolate(floats, size=(22, 33), mode=interpolation, align_corners=False, antialias=antialias)
    wanted = whole[0].clamp(0, 255)[:, 1:21, 6:26]  # (33 - 20) / 2 = 6.5 goes to 6
    found = torch.from_numpy(np.array(scaled(image, rules).convert("RGB"))).permute(2, 0, 1)
    assert (found - wanted).abs().max() <= 1.5  # both passes are rounded


def test_without_antialiasing_most_pixels_do_not_count():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, 1::4] = 255
    image, rules = Image.fromarray(stripes), Rules(size=(16, 16), resizer="torch")
    whole, part = (np.asarray(scaled(image, replace(rules, antialias=choice))) for choice in (True, False))
    assert abs(float(whole[:, 4:-4].mean()) - 255 / 4) < 2
    assert abs(float(part.mean()) - 255 / 2) < 2


def test_a_line_that_would_become_endless_is_a_reason():
    found, why = decode_picture(noise(1, 4000), None, Rules(size=(224, 224), resize=256, crop=True))
    assert found is None
    assert "262,144,000 pixels" in why
