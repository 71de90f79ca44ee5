import hashlib

import numpy as np
import pytest
import torch

from demur.data import build_index, from_tensors
from demur.data.index import unlabelled_index
from demur.data.source import Row
from demur.errors import DataError


def images_of(rows, seed=0):
    return torch.rand(rows, 1, 4, 4, generator=torch.Generator().manual_seed(seed))


def seeded():
    return torch.Generator().manual_seed(3)


def source_of(images, labels=None, groups=None, classes=("cat", "dog")):
    labels = torch.arange(len(images)) % 2 if labels is None else torch.tensor(labels)
    return from_tensors(images, labels, classes=classes, groups=groups)


class Listed:
    """A source that is a list of rows."""

    address = "listed"
    classes = ("cat", "dog")
    input_shape = (1, 2, 2)

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def read(self, positions):
        return (self.rows[position] for position in positions)


def test_content_is_the_hash_of_pixels_and_shape():
    images = images_of(2)
    index = build_index(source_of(images))
    assert index.contents[1] == hashlib.sha256(b"(1, 4, 4)" + images[1].numpy().tobytes()).hexdigest()
    reshaped = build_index(source_of(images.view(2, 1, 2, 8)))
    assert reshaped.contents[1] != index.contents[1]


def test_the_hash_of_a_set_ignores_order_and_heeds_labels_and_pixels():
    images = images_of(50)
    labels = [row % 2 for row in range(50)]
    order = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    plain = build_index(source_of(images, labels))
    shuffled = build_index(source_of(images[order], [labels[row] for row in order]))
    assert shuffled.sha256 == plain.sha256
    assert build_index(source_of(images, [1, *labels[1:]])).sha256 != plain.sha256
    assert build_index(source_of(torch.cat([images[:49], images_of(1, 9)]), labels)).sha256 != plain.sha256
    assert [shuffled.splits[int(at)] for at in order.argsort()] == list(plain.splits)


def test_arrays_follow_the_source():
    index = build_index(source_of(images_of(10), groups=[f"g{row // 2}" for row in range(10)]))
    assert len(index) == 10
    assert index.positions.tolist() == list(range(10))
    assert index.sample_ids[3] == "000003"
    assert index.labels.tolist() == [0, 1] * 5
    assert index.group_count == 5
    assert sorted(np.concatenate([index.rows_of(split) for split in ("tune", "certify", "test")])) == list(range(10))


def test_duplicates_are_counted_and_kept_together():
    images = images_of(200)
    index = build_index(source_of(torch.cat([images, images])))
    assert index.duplicates == 200
    assert index.splits[:200] == index.splits[200:]
    assert build_index(source_of(images)).duplicates == 0


def test_groups_move_whole():
    groups = [f"module {row % 20}" for row in range(700)]
    index = build_index(source_of(images_of(700), groups=groups))
    for name in set(groups):
        assert len({split for split, group in zip(index.splits, groups, strict=True) if group == name}) == 1
    assert len(set(index.splits)) == 3


def test_a_limit_keeps_the_same_rows_in_any_order():
    images = images_of(300)
    labels = torch.arange(300) % 2
    kept = build_index(source_of(images), limit=50)
    assert len(kept) == 50
    assert kept.positions.tolist() == sorted(kept.positions.tolist())
    assert kept.positions.tolist() != list(range(50))
    flipped = build_index(from_tensors(images.flip(0), labels.flip(0), classes=("cat", "dog")), limit=50)
    assert flipped.sha256 == kept.sha256
    assert set(kept.contents) < set(build_index(source_of(images), limit=60).contents)


def test_a_limit_says_nothing_about_roles():
    index = build_index(source_of(images_of(2000)), limit=400)
    shares = [len(index.rows_of(split)) / 400 for split in ("tune", "certify", "test")]
    assert shares == pytest.approx([0.2, 0.5, 0.3], abs=0.08)


def test_a_limit_above_the_size_keeps_everything():
    assert len(build_index(source_of(images_of(10)), limit=50)) == 10


def test_a_limit_moves_no_split():
    """What is tested later must not certify now."""
    whole, part = (build_index(source_of(images_of(3000)), limit=limit) for limit in (None, 500))
    of = dict(zip(whole.sample_ids, whole.splits, strict=True))
    assert "fit" in whole.splits
    assert [of[name] for name in part.sample_ids] == list(part.splits)


def test_unreadable_and_odd_sized_images_are_rows():
    good = [Row(f"{number}", torch.full((1, 2, 2), number / 4), number % 2) for number in range(4)]
    broken = Row("broken", None, 0, error="cannot decode")
    large = Row("large", torch.zeros(1, 2, 3), 1)
    index = build_index(Listed([*good, broken, large]))
    assert index.errors == (None, None, None, None, "cannot decode", "size 1×2×3 in a set of 1×2×2 images")
    assert len(set(index.contents)) == 6


def test_progress_is_told():
    told = []
    build_index(source_of(images_of(5000)), progress=lambda done, total: told.append((done, total)))
    assert told == [(4096, 5000)]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (source_of(images_of(4) * 255), "divide by 255"),
        (source_of(images_of(4) - 0.5), "before normalisation"),
        (source_of(images_of(4).fill_(torch.nan)), "from nan to nan"),
        (source_of(images_of(4), [0, 1, 2, 0]), "has label 2; the 2 classes of tensors are numbered 0 to 1"),
        (source_of(images_of(4), [0, 1, -1, 0]), "has label -1"),
        (source_of(images_of(4), [1, 1, 1, 1]), "are of one class, 'dog'"),
        (Listed([]), "no readable image"),
        (Listed([Row("a", None, 0, error="cut short")]), "the first of 1 says: cut short"),
        (Listed([Row("a", torch.zeros(1, 2, 2), label) for label in (0, 1)]), "ids must be unique"),
    ],
)
def test_unusable_sets_are_refused(source, says):
    with pytest.raises(DataError, match=says):
        build_index(source)


def test_a_limit_of_nothing_is_refused():
    with pytest.raises(DataError, match="at least 1; got 0"):
        build_index(source_of(images_of(4)), limit=0)


@pytest.mark.parametrize("number", [float, np.float32, np.int8, bool])
def test_labels_are_numbers_of_whatever_kind(number):
    plain, other = (
        [Row(f"{at}", image, kind(at % 2)) for at, image in enumerate(torch.rand(6, 1, 2, 2, generator=seeded()))]
        for kind in (int, number)
    )
    assert build_index(Listed(other)).rows_sha256 == build_index(Listed(plain)).rows_sha256


@pytest.mark.parametrize("label", [0.5, "cat", None, float("nan"), float("inf"), 2**70, -1])
def test_labels_that_are_no_class_are_named(label):
    rows = [Row(f"{at}", torch.rand(1, 2, 2), at % 2) for at in range(3)] + [Row("odd", torch.rand(1, 2, 2), label)]
    with pytest.raises(DataError, match=r"image 'odd' has label .*; the 2 classes of listed are numbered 0 to 1"):
        build_index(Listed(rows))
    found, labels = unlabelled_index(Listed(rows), "")
    assert set(found.labels.tolist()) == {-1}
    assert labels[:3].tolist() == [0, 1, 0]


def test_a_box_that_no_picture_has_is_named():
    rows = [Row(f"{at}", torch.rand(1, 2, 2), at % 2, box=(0, 0, 2 ** (40 * at), 2)) for at in range(3)]
    with pytest.raises(DataError, match="image '1' of listed has the box"):
        build_index(Listed(rows))
