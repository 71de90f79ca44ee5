"""Bursts are seen in the order of names and times; an order that says nothing raises nothing."""

import numpy as np
import pytest
import torch
from tests.data.test_near_duplicates import moved, photographs

from demur.data.near_duplicates import print_of, spectra
from demur.data.neighbours import neighbours, order_of, series_of

UNTIMED = np.full(300, np.nan)


def frames(videos=30, length=10, seed=0):
    """Each video shows one thing that moves and in changing light."""
    light = torch.rand(videos, length, 1, 1, 1, generator=torch.Generator().manual_seed(seed))
    scenes = photographs(videos, side=32, seed=seed)
    steps = [scenes]
    for _ in range(length - 1):
        steps.append(torch.stack([moved(image) for image in steps[-1]]))
    return ((0.7 + 0.3 * light) * torch.stack(steps, dim=1)).flatten(0, 1)


def found(images, labels, order):
    names = [str(at) for at in range(len(images))]
    return neighbours(spectra(print_of(images)), labels, names, order)


def test_a_video_is_seen():
    labels = np.repeat(np.arange(30) % 3, 10)
    seen = found(frames(), labels, np.arange(300))
    assert seen.pairs == 297
    assert seen.alike > 200
    assert seen.p_value == 0.01


def test_frames_in_a_random_order_are_not():
    labels = np.repeat(np.arange(30) % 3, 10)
    seen = found(frames(), labels, np.random.default_rng(0).permutation(300))
    assert seen.p_value > 0.01


def test_classes_that_follow_each_other_are_no_burst():
    """In the order of folders neighbours are of one class, and so are the pairs they are compared with."""
    images, labels = photographs(300, side=32), np.repeat(np.arange(3), 100)
    images[:100] = 0.2 * images[:100] + 0.8 * images[:1]
    assert found(images, labels, np.arange(300)).p_value > 0.01


def test_where_order_says_nothing_one_in_twenty_is_alike():
    p_values, shares = [], []
    for seed in range(40):
        draw = np.random.default_rng(seed)
        points = torch.from_numpy(draw.normal(size=(300, 8)).astype(np.float32))
        seen = neighbours(points, draw.integers(0, 3, 300), [str(at) for at in range(300)], np.arange(300))
        p_values.append(seen.p_value)
        shares.append(seen.alike / seen.pairs)
    assert np.mean(shares) == pytest.approx(0.05, abs=0.01)
    assert np.mean(np.array(p_values) <= 0.05) <= 0.15


def test_copies_do_not_count():
    points = torch.randn(120, 4).repeat_interleave(2, dim=0)
    seen = neighbours(points, np.zeros(240, np.int64), [str(at // 2) for at in range(240)], np.arange(240))
    assert seen.pairs == 119


def test_too_few_say_nothing():
    seen = neighbours(torch.randn(20, 4), np.zeros(20, np.int64), [str(at) for at in range(20)], np.arange(20))
    assert np.isnan(seen.p_value)
    assert neighbours(torch.zeros(0, 4), np.zeros(0, np.int64), [], np.zeros(0, np.int64)).pairs == 0


def test_names_are_ordered_by_their_numbers():
    names = ["v/frame_10.png", "v/frame_9.png", "v/frame_0100.png", "a.png", "v/frame_010.png"]
    assert [names[at] for at in order_of(names, UNTIMED[:5])] == [
        "a.png", "v/frame_9.png", "v/frame_10.png", "v/frame_010.png", "v/frame_0100.png",
    ]  # fmt: skip


def test_times_go_before_names():
    names = [f"{at}.png" for at in range(10)]
    times = np.array([9.0, 8, 7, 6, 5, 4, 3, 2, 1, np.nan])
    assert order_of(names, times).tolist() == [8, 7, 6, 5, 4, 3, 2, 1, 0, 9]
    times[:2] = np.nan
    assert order_of(names, times).tolist() == list(range(10))
    assert order_of(names, np.full(10, 5.0)).tolist() == list(range(10))


@pytest.mark.parametrize(
    ("names", "series", "pattern"),
    [
        ([f"cat/v{video}_{frame:03}.png" for video in "abc" for frame in range(4)], 3, True),
        ([f"cat/{frame:03}.png" for frame in range(9)] + [f"dog/{frame:03}.png" for frame in range(9)], 2, False),
        ([f"{frame:06}" for frame in range(9)], 1, False),
        ([f"{word}_1.png" for word in ("one", "two", "three")], 3, False),
        (["plain.png", "other.png"], 0, False),
    ],
)
def test_names_tell_of_series_where_a_folder_holds_several(names, series, pattern):
    told = series_of(names)
    assert told.series == series
    assert (told.pattern is not None) == pattern


def test_the_pattern_makes_the_series():
    import re

    names = [f"cat/v{video}_{frame:03}.png" for video in range(3) for frame in range(4)]
    pattern = series_of(names).pattern
    assert [re.search(pattern, name)[1] for name in names] == [f"cat/v{at // 4}_" for at in range(12)]
