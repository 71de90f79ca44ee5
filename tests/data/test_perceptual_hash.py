"""Near-duplicates: copies saved again, resized or moved are found, other images of one class are not."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate, pad

from demur.data import open_data
from demur.data.perceptual_hash import BITS, _blocks, _standard, hashes, near_duplicates, print_of


def photographs(rows=60, side=96, seed=0):
    """Smooth colour fields with edges and grain: what a photograph is to a hash."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(rows, 3, 9, 9, generator=draw)
    smooth = interpolate(coarse, size=(side, side), mode="bicubic", align_corners=False)
    edges = interpolate((torch.rand(rows, 1, 6, 6, generator=draw) > 0.5).float(), size=(side, side))
    grain = 0.03 * torch.randn(rows, 3, side, side, generator=draw)
    return (0.6 * smooth + 0.3 * edges + grain).clamp(0, 1)


def saved_again(image):
    picture = Image.fromarray((image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=75)
    values = np.asarray(Image.open(buffer)).astype(np.float32) / 255
    return torch.from_numpy(values).permute(2, 0, 1)


def resized(image):
    small = interpolate(image[None], scale_factor=0.7, mode="bilinear", antialias=True)
    return interpolate(small, size=image.shape[1:], mode="bilinear")[0]


def moved(image):
    return pad(image[None], (1, 1, 1, 1), mode="replicate")[0, :, 2:, :-2]


def darker(image):
    return 0.8 * image


def pairs(images, parts):
    return near_duplicates(print_of(images), np.array(parts), images.shape[2:]).tolist()


@pytest.mark.parametrize(
    ("change", "side"),
    [(saved_again, 96), (saved_again, 32), (resized, 96), (moved, 96), (moved, 32), (darker, 96), (darker, 32)],
)
def test_a_copy_is_found(change, side):
    """Not one that was resized below about 64 pixels, where that leaves another image."""
    images = photographs(side=side)
    copies = torch.stack([change(image) for image in images])
    found = pairs(torch.cat([images, copies]), [0] * 60 + [1] * 60)
    assert all(other == one + 60 for one, other in found)
    assert len(found) >= 54


def test_copies_within_a_part_do_not_count():
    images = photographs(10)
    assert pairs(torch.cat([images, images]), [0] * 20) == []


def test_a_pair_is_named_once_and_in_order():
    images = photographs(5)
    assert pairs(torch.cat([images[:2], images]), list("aabbbbb")) == [[0, 2], [1, 3]]


def test_flat_and_tiny_images_have_no_double():
    assert pairs(torch.full((6, 1, 16, 16), 0.5) + 0.001 * torch.rand(6, 1, 16, 16), range(6)) == []
    assert pairs(torch.rand(3, 1, 6, 6).repeat(2, 1, 1, 1), range(6)) == []


def test_different_shirts_are_different():
    """Grey, small and alike: hundreds of pairs share a hash here, and the prints tell nearly all of them apart."""
    source = open_data("fashion")
    images = torch.stack([row.image for row in source.read(range(2000)) if row.image is not None])
    found = pairs(images, np.arange(len(images)))
    assert len(found) <= 2


def test_the_hash_alone_would_not_do():
    source = open_data("fashion")
    prints = print_of(torch.stack([row.image for row in source.read(range(500))])) / 255
    codes = hashes(prints)
    alike = np.bitwise_count(codes[:, None] ^ codes[None]) <= BITS
    assert np.triu(alike, 1).sum() > 20


def test_block_means_lose_nothing():
    one, other = _standard(torch.rand(50, 32, 30)), _standard(torch.rand(50, 32, 30))
    fine = (one - other).square().mean(dim=(1, 2))
    coarse = (_blocks(one) - _blocks(other)).square().mean(dim=1)
    assert (coarse <= fine + 1e-6).all()
