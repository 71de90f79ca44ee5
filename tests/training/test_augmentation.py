import pytest
import torch
from torch.nn.functional import pad

from demur.training.batches import random_mirror, random_shift

IMAGES = torch.rand(200, 2, 5, 6, generator=torch.Generator().manual_seed(0)) + 0.1


def test_half_of_the_images_are_mirrored():
    views = random_mirror(IMAGES, torch.Generator().manual_seed(0))
    turned = [torch.equal(view, image.flip(2)) for view, image in zip(views, IMAGES, strict=True)]
    kept = [torch.equal(view, image) for view, image in zip(views, IMAGES, strict=True)]
    assert all(one != other for one, other in zip(turned, kept, strict=True))
    assert sum(turned) / 200 == pytest.approx(0.5, abs=0.1)


def test_every_shift_happens_and_fills_with_zero():
    views = random_shift(IMAGES, 1, torch.Generator().manual_seed(0))
    found = set()
    for view, image in zip(views, IMAGES, strict=True):
        framed = pad(image, (1, 1, 1, 1))
        moves = [(y, x) for y in range(3) for x in range(3) if torch.equal(view, framed[:, y : y + 5, x : x + 6])]
        assert len(moves) == 1
        found.update(moves)
    assert len(found) == 9


def test_no_shift_is_the_image():
    assert torch.equal(random_shift(IMAGES, 0, torch.Generator()), IMAGES)
