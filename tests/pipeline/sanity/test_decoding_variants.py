"""Variants that decode the files again: their rules, their options, and what cannot be read so."""

import numpy as np
import pytest
import torch
from PIL import Image
from tests import tiny

from demur.data import open_data
from demur.errors import DataError
from demur.pipeline.sanity.decoding_variants import decoding_variants

USUAL = "size=32&resize=36&crop=center&interpolation=bicubic"


@pytest.fixture
def photographs(tmp_path):
    """Two classes of oblong pictures, one of which lies on its side by its EXIF orientation."""
    draw = np.random.default_rng(0)
    for name, shape in (("a/0", (50, 70, 3)), ("a/1", (64, 40, 3)), ("b/2", (48, 48, 3)), ("b/3", (50, 70, 3))):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        picture, exif = Image.fromarray(draw.integers(0, 256, shape, dtype=np.uint8)), Image.Exif()
        exif[0x0112] = 6 if name == "b/3" else 1
        picture.save(path, exif=exif)
    return tmp_path


def images_of(source):
    return torch.stack([row.image for row in source.read(range(len(source)))])


def variants(source):
    return {each.name: each for each in decoding_variants(source)}


def test_the_remedy_is_an_address_that_gives_the_images_of_the_variant(photographs):
    source = open_data(f"folder:{photographs}?{USUAL}")
    found = variants(source)
    assert set(found) == {
        "stretched, not cropped", "cropped to the short side (1.0)", "cropped to .875 of the short side",
        "nearest interpolation", "bilinear interpolation", "without antialiasing", "without the EXIF orientation",
    }  # fmt: skip
    own = images_of(source)
    for each in found.values():
        images = each.images(own, np.arange(4))
        options = each.remedy.partition("?")[2].partition(" ")[0]
        assert torch.equal(images, images_of(open_data(f"folder:{photographs}?{options}"))), each.name
        assert not torch.equal(images, own)


@pytest.mark.parametrize(
    "options", ["size=32", "size=32&crop=center", "size=32x20&crop=floor", "size=32&resizer=torch"]
)
def test_every_variant_of_an_address_can_be_read(photographs, options):
    source = open_data(f"folder:{photographs}?{options}")
    own = images_of(source)
    assert all(each.images(own, np.arange(4)).shape == own.shape for each in variants(source).values())


def test_pictures_that_are_not_scaled_have_an_orientation_alone(photographs):
    Image.open(photographs / "b/2.png").resize((70, 50)).save(photographs / "b/2.png")
    source = open_data(f"folder:{photographs}")
    (found,) = decoding_variants(source)
    assert found.remedy == "decode by ?exif=ignore in the address of the data"
    own = torch.zeros(1, *source.input_shape)
    assert found.images(own, np.array([0])).shape == own.shape
    with pytest.raises(DataError, match="the model reads"):
        found.images(own, np.array([1]))


def test_a_picture_that_is_gone_is_told_of(photographs):
    source = open_data(f"folder:{photographs}?size=32")
    own = images_of(source)
    (photographs / "a/0.png").unlink()
    with pytest.raises(DataError, match="cannot be read so: cannot read the file"):
        variants(source)["nearest interpolation"].images(own, np.arange(4))


def test_arrays_have_no_such_variants():
    assert decoding_variants(tiny.source(30)) == ()
