"""Near-duplicates: copies saved again, resized, moved or mirrored are found, other images of one class are not."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate, pad

from demur.data import near_duplicates as near_duplicates_module
from demur.data import open_data
from demur.data.near_duplicates import (
    _distance,
    _distances,
    _standard,
    _window,
    near_duplicates,
    print_of,
    spectra,
)
from demur.data.nearest_places import PlacesByKind, _smallest, nearest_of_all, nearest_of_some


def photographs(rows=60, side=96, seed=0):
    """Smooth colour fields with edges and grain: what a photograph is to a hash."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(rows, 3, 9, 9, generator=draw)
    smooth = interpolate(coarse, size=(side, side), mode="bicubic", align_corners=False)
    edges = interpolate((torch.rand(rows, 1, 6, 6, generator=draw) > 0.5).float(), size=(side, side))
    grain = 0.03 * torch.randn(rows, 3, side, side, generator=draw)
    return (0.6 * smooth + 0.3 * edges + grain).clamp(0, 1)


def saved_again(image):
    pixels = (image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(buffer, "JPEG", quality=75)
    values = np.asarray(Image.open(buffer)).astype(np.float32) / 255
    return torch.from_numpy(values).reshape(pixels.shape).permute(2, 0, 1)


def resized(image):
    small = interpolate(image[None], scale_factor=0.7, mode="bilinear", antialias=True)
    return interpolate(small, size=image.shape[1:], mode="bilinear")[0]


def moved(image):
    return pad(image[None], (1, 1, 1, 1), mode="replicate")[0, :, 2:, :-2]


def shifted(down, right):
    """By whole pixels, what comes in repeating the edge."""

    def change(image):
        height, width = image.shape[1:]
        wide = pad(image[None], (9, 9, 9, 9), mode="replicate")[0]
        return wide[:, 9 - down : 9 - down + height, 9 - right : 9 - right + width]

    return change


def mirrored(image):
    return image.flip(2)


def mirrored_and_moved(image):
    return shifted(-2, 1)(saved_again(mirrored(image)))


def darker(image):
    return 0.8 * image


def pairs(images, parts):
    return near_duplicates(print_of(images), np.array(parts), images.shape[2:]).tolist()


@pytest.mark.parametrize(
    ("change", "side"),
    [
        (saved_again, 96),
        (saved_again, 32),
        (resized, 96),
        (moved, 96),
        (moved, 32),
        (darker, 96),
        (darker, 32),
        (mirrored, 96),
        (mirrored, 32),
        (mirrored_and_moved, 96),
        (mirrored_and_moved, 32),
        (shifted(3, -3), 32),
        (shifted(-2, 0), 28),
        (shifted(5, 9), 96),
        (shifted(2, 1), 64),
        (shifted(1, -1), 16),
    ],
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


def planted(rows, change, images):
    copies = torch.stack([change(image) for image in images[:rows]])
    found = pairs(torch.cat([images, copies]), [0] * len(images) + [1] * rows)
    return [pair for pair in found if pair[1] - len(images) == pair[0]], found


@pytest.mark.parametrize("change", [mirrored, shifted(1, 0), shifted(-3, 3), mirrored_and_moved])
def test_copies_of_clothes_are_found_among_many_that_look_alike(change):
    """Fewer of those saved again besides, which leaves rings on a black ground."""
    images = torch.stack([row.image for row in open_data("fashion").read(range(1000))])
    right, found = planted(60, change, images)
    assert len(right) >= (48 if change is mirrored_and_moved else 54)
    assert len(found) - len(right) <= 1


def test_a_picture_turned_upside_down_is_another():
    right, found = planted(40, lambda image: image.flip(1), photographs(60, side=32))
    assert found == right == []


def test_spectra_forget_the_side_and_nearly_the_place():
    images = photographs(40, side=32)
    still, other = spectra(print_of(images)), spectra(print_of(images.flip(3)))
    assert torch.allclose(still, other, atol=1e-5)
    near = spectra(print_of(torch.stack([shifted(1, 1)(image) for image in images])))
    apart = torch.cdist(still, still).fill_diagonal_(9).min(dim=1).values
    assert ((still - near).norm(dim=1) < apart).float().mean() > 0.9


def test_a_spectrum_after_a_move_is_that_of_the_moved_image():
    images = photographs(10, side=32)
    there = torch.stack([shifted(2, -2)(image) for image in images])
    assert torch.allclose(spectra(print_of(images), (2, -2))[:, :20], spectra(print_of(there))[:, :20], atol=0.01)


def test_the_nearest_are_those_of_a_slow_search():
    draw = torch.Generator().manual_seed(0)
    queries, places = torch.rand(700, 16, generator=draw), torch.rand(700, 16, generator=draw)
    kinds = np.arange(700) % 2
    found = {tuple(pair) for part in nearest_of_all(queries, places, kinds) for pair in part.tolist()}
    nearest = torch.cdist(queries, places).argsort(dim=1)[:, :6].tolist()
    slow = {(query, place) for query, row in enumerate(nearest) for place in row if query % 2 != place % 2}
    assert found == slow


def test_the_distance_is_its_definition():
    one, other = torch.rand(50, 20, 18), torch.rand(50, 20, 18)
    slow = (_standard(one) - _standard(other)).square().mean(dim=(1, 2)).sqrt()
    assert torch.allclose(_distance(_standard(one), other), slow, atol=1e-4)


def test_a_window_shows_the_moved_print():
    grey = torch.rand(3, 12, 12)
    whole = _window(grey, (2, -1), 3)
    assert torch.equal(whole, grey[:, 1:7, 4:10])
    half = _window(grey, (0.25, 0), 3)
    assert torch.allclose(half, 0.75 * grey[:, 3:9, 3:9] + 0.25 * grey[:, 2:8, 3:9])


def test_distances_to_nine_places_are_those_to_each():
    one, other = torch.rand(20, 16, 14), torch.rand(20, 16, 14)
    still = _standard(_window(one, (2, -1), 3))
    found = _distances(still, _window(other, (0, 0), 2))
    for down in range(3):
        for right in range(3):
            slow = _distance(still, _window(other, (1 - down, 1 - right), 3))
            assert torch.allclose(found[:, down, right], slow, atol=1e-4)


@pytest.mark.parametrize("places", [64, 128, 6400])
def test_the_smallest_values_are_found_by_buckets(places):
    values = torch.rand(50, places, generator=torch.Generator().manual_seed(0))
    assert torch.equal(_smallest(values, 6), values.topk(6, largest=False).indices)


def nearest(places, asked, kinds):
    among = PlacesByKind.of(torch.split(places, 1000), kinds)
    return sorted(tuple(pair) for part in nearest_of_some(among, asked) for pair in part.tolist())


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.01, 0.98, 0.01), (0.05, 0.15, 0.4, 0.4)])
def test_the_nearest_of_some_are_those_of_a_slow_search_among_other_kinds(shares):
    draw = torch.Generator().manual_seed(0)
    places, kinds = torch.rand(9000, 16, generator=draw), np.random.default_rng(0).choice(len(shares), 9000, p=shares)
    asked = np.flatnonzero(np.arange(9000) % 13 == 5)
    apart = torch.cdist(places[asked], places)
    apart[torch.from_numpy(kinds[asked][:, None] == kinds)] = torch.inf
    rows = apart.argsort(dim=1)[:, :6].tolist()
    slow = [(one, other) for one, row in zip(asked.tolist(), rows, strict=True) for other in row]
    assert nearest(places, asked, kinds) == sorted(slow)


def test_places_are_held_once_and_come_some_at_a_time(monkeypatch):
    """What is beside the rows is less than a bucket of each kind."""
    monkeypatch.setattr(near_duplicates_module, "_MANY", 50)
    stack = near_duplicates_module._Stack((print_of(photographs(120, side=32)),))
    parts, kinds = near_duplicates_module._on_few_axes(stack, np.arange(120)), np.arange(120) % 3
    first = next(parts)
    assert len(first) == 50
    among = PlacesByKind.of([first, *parts], kinds)
    assert len(among.places) == 3 * 64
    assert among.rows[among.rows >= 0].tolist() == [*range(0, 120, 3), *range(1, 120, 3), *range(2, 120, 3)]
    owned = [among.places[part].untyped_storage().data_ptr() for part in among.others(1)]
    assert set(owned) == {among.places.untyped_storage().data_ptr()}
    assert sum(part.stop - part.start for part in among.others(1)) == 2 * 64


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell")
def test_which_prints_are_flat_is_told_without_memory_for_each():
    """400 MB where what is kept of some rows lies between what is thrown away."""
    script = """
import torch
from pathlib import Path
from demur.data.near_duplicates import _Stack
def size(name):
    return int(Path("/proc/self/status").read_text().split(name)[1].split()[0]) // 1024
spare = torch.zeros(7_000_000)
stack = _Stack((torch.full((100_000, 32, 32), 7, dtype=torch.uint8),))
del spare  # what the allocator no longer gives back at once
before = size("VmRSS:")
assert not len(stack.lively)
print(size("VmHWM:") - before)
"""
    grown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert int(grown) < 100


def test_of_few_others_all_are_the_nearest_and_of_none_none():
    places = torch.rand(500, 16, generator=torch.Generator().manual_seed(0))
    kinds = np.array([0] * 498 + [1, 1])
    assert nearest(places, np.array([0, 499]), kinds)[:2] == [(0, 498), (0, 499)]
    assert len(nearest(places, np.array([0, 499]), kinds)) == 2 + 6
    assert nearest(places, np.array([3, 4]), np.zeros(500, np.int64)) == []


@pytest.mark.parametrize("shares", [(0.02, 0, 0, 0.98), (0.05, 0.15, 0.4, 0.4)])
@pytest.mark.parametrize("length", [3, 12, 40])
def test_in_bursts_those_asked_find_what_the_search_of_all_finds(monkeypatch, length, shares):
    """The others of a burst are nearer than the one in another part, and most of them are in the same."""
    monkeypatch.setattr(near_duplicates_module, "_MOST_MOVED", 100)
    draw = torch.Generator().manual_seed(length)
    images = photographs(60, side=32).repeat_interleave(length, dim=0)
    light = 0.9 + 0.2 * torch.rand(len(images), 1, 1, 1, generator=draw)
    images = (light * images + 0.012 * torch.randn(images.shape, generator=draw)).clamp(0, 1)
    parts = np.random.default_rng(length).choice(4, len(images), p=shares)
    judged = np.flatnonzero(parts == 3)
    prints = print_of(images)
    every = np.intersect1d(near_duplicates(prints, parts, (32, 32)), judged)
    found = np.intersect1d(near_duplicates(prints, parts, (32, 32), judged), judged)
    assert np.isin(every, found).all()
    groups = np.arange(len(images)) // length
    torn = judged[np.isin(groups[judged], groups[parts != 3])]
    assert len(torn) > 2
    assert found.tolist() == torn.tolist()


def test_pairs_of_those_asked_are_the_pairs_they_are_in():
    images = photographs(300, side=32)
    images[200:] = (0.9 * images[:100] + 0.05).clamp(0, 1)
    prints, parts = print_of(images), np.arange(300) // 100
    every, asked = near_duplicates(prints, parts, (32, 32)), np.arange(150, 240)
    found = near_duplicates([prints[:120], prints[120:]], parts, (32, 32), asked)
    assert len(every) == 100
    assert found.tolist() == [pair for pair in every.tolist() if set(pair) & set(asked.tolist())]


def test_more_than_a_few_are_compared_as_few_are_but_for_moves(monkeypatch):
    images = photographs(120, side=32)
    images[60:] = (0.9 * images[:60] + 0.05).clamp(0, 1)
    images[7] = 0.3
    prints, parts = print_of(images), np.arange(120) // 60
    few = near_duplicates(prints, parts, (32, 32))
    monkeypatch.setattr(near_duplicates_module, "_MOST_MOVED", 10)
    assert near_duplicates(prints, parts, (32, 32)).tolist() == few.tolist()
    assert len(few) == 59
