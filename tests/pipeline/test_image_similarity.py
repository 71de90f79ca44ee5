"""Near-duplicates among many images: some are drawn and compared with all, prints lie in a file, figures stay true."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests import tiny
from torch.nn.functional import interpolate

from demur.data import build_index, from_tensors
from demur.data.near_duplicates import near_duplicates, print_of
from demur.data.unknown_images import unknown_images
from demur.errors import RunError
from demur.pipeline import image_similarity
from demur.pipeline.drawn_rows import by_hash
from demur.pipeline.image_similarity import comparisons, near_duplicate_facts, neighbour_facts, printed_rows

ROWS, SIDE = 900, 16


def smooth(rows, seed):
    coarse = torch.rand(rows, 1, 6, 6, generator=torch.Generator().manual_seed(seed))
    return interpolate(coarse, size=(SIDE, SIDE), mode="bicubic", align_corners=False).clamp(0, 1)


@pytest.fixture(scope="module")
def source():
    """Every third image is there again, brighter; one is flat."""
    images = smooth(ROWS, 1)
    images[600:] = (0.8 * images[:300] + 0.1).clamp(0, 1)
    images[5] = 0.5
    labels = torch.arange(ROWS) % 3
    return from_tensors(images, labels, classes=tiny.CLASSES, name="smooth")


@pytest.fixture(scope="module")
def index(source):
    return build_index(source)


@pytest.fixture(scope="module")
def unknown(index):
    """Others, of which the first forty are audited ones, darker."""
    images = smooth(200, 2)
    images[:40] = 0.9 * smooth(ROWS, 1)[100:140]
    strange = from_tensors(images, torch.zeros(200, dtype=torch.int64), classes=("a", "b"), name="strange")
    return unknown_images(strange, index, tiny.CLASSES, None)


@pytest.fixture
def many(monkeypatch):
    monkeypatch.setattr(image_similarity, "ALL_ASKED", 100)
    monkeypatch.setattr(image_similarity, "ASKED", 70)


def test_of_many_images_those_drawn_are_compared_with_all(source, index, many):
    found = near_duplicate_facts(source, index)
    test = index.rows_of("test")
    drawn = by_hash(index, test)[:70].tolist()
    prints = print_of(torch.stack([row.image for row in source.read(range(ROWS))]))
    every = near_duplicates(prints, np.array(index.splits), (SIDE, SIDE)).tolist()
    touched = {row for pair in every for row in pair} & set(drawn)
    assert (found["images"], found["of"], found["drawn_from"]) == (len(touched), 70, len(test))
    assert 5 < len(touched) < 70
    own = [pair for pair in every if set(pair) & set(drawn)]
    assert found["pairs"] == len(own)
    assert found["examples"] == [[index.sample_ids[row] for row in pair] for pair in own[:20]]
    assert sum(found["between"].values()) == len(own)
    assert all("test" in name.split("-") for name in found["between"])


def test_of_few_images_all_are_asked_and_nothing_is_said_of_a_draw(source, index):
    found = near_duplicate_facts(source, index)
    assert "drawn_from" not in found
    assert found["of"] == len(index.rows_of("test"))
    assert found["images"] > 60


def test_judged_images_fewer_than_may_be_drawn_are_all_asked(source, index, monkeypatch):
    whole = near_duplicate_facts(source, index)
    monkeypatch.setattr(image_similarity, "ALL_ASKED", 100)
    found = near_duplicate_facts(source, index)
    assert found["of"] == found["drawn_from"] == len(index.rows_of("test"))
    assert found["images"] == whole["images"]


def test_unknown_images_are_drawn_too(source, index, unknown, many):
    found = near_duplicate_facts(source, index, unknown)["unknown"]
    assert (found["of"], found["drawn_from"]) == (70, 200)
    drawn = {unknown.index.sample_ids[row] for row in by_hash(unknown.index, range(200))[:70]}
    darker = {unknown.index.sample_ids[row] for row in range(40)}
    assert found["images"] == pytest.approx(len(drawn & darker), abs=1)
    assert {own for own, _ in found["examples"]} <= drawn


def test_unknown_images_are_drawn_of_all_that_could_be_read_when_they_were_hashed(source, index, unknown, many):
    torn = tiny.Broken(unknown.source, {150, 151, 152})
    found = near_duplicate_facts(source, index, replace(unknown, source=torn))["unknown"]
    assert (found["of"], found["drawn_from"]) == (70, 200)


def test_prints_in_a_file_tell_the_same(source, index, unknown, tmp_path, monkeypatch):
    held = printed_rows(source, index)
    expected = near_duplicate_facts(source, index, unknown), neighbour_facts(source, index)
    monkeypatch.setattr(image_similarity, "_IN_MEMORY", 0)
    monkeypatch.setattr(image_similarity, "_AT_ONCE", 128)
    spooled = printed_rows(source, index, scratch=tmp_path)
    assert torch.equal(spooled.prints, held.prints)
    found = near_duplicate_facts(source, index, unknown, spooled, tmp_path), neighbour_facts(source, index, spooled)
    assert found == expected
    assert not list(tmp_path.iterdir()), "the file has no name"


def test_of_images_that_are_all_unreadable_no_print_is_held(source, index, tmp_path, monkeypatch):
    monkeypatch.setattr(image_similarity, "_IN_MEMORY", 0)
    torn = tiny.Broken(source, range(ROWS))
    assert printed_rows(torn, index, scratch=tmp_path).prints.shape == printed_rows(torn, index).prints.shape


def test_a_disk_without_room_for_prints_is_named(source, index, tmp_path, monkeypatch):
    monkeypatch.setattr(image_similarity, "_IN_MEMORY", 0)

    class Full:
        """It takes what is written into its buffer, as files do."""

        def write(self, content):
            pass

        def flush(self):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(
        image_similarity,
        "_written",
        lambda file, one, scratch, write=image_similarity._written: write(Full(), one, scratch),
    )
    with pytest.raises(RunError, match=r"pictures by which near-duplicates .*: No space left.*Free some space"):
        printed_rows(source, index, scratch=tmp_path)


def test_images_the_model_learned_from_have_the_ids_of_the_source(source):
    whole = build_index(source)
    index = build_index(source, exclude=whole.contents[600:], held_out=True)
    printed = printed_rows(source, index)
    assert len(printed) == ROWS
    assert [printed.name(at) for at in range(ROWS)] == list(whole.sample_ids)
    assert (printed.splits == 0).sum() == len(index.learned) == ROWS - len(index)


def test_positions_in_another_order_keep_their_rows(source, index):
    turned = replace(
        index,
        positions=index.positions[::-1].copy(),
        sample_ids=tuple(reversed(list(index.sample_ids))),
        splits=tuple(reversed(list(index.splits))),
    )
    one, other = printed_rows(source, index), printed_rows(source, turned)
    assert [one.name(at) for at in range(ROWS)] == [other.name(at) for at in range(ROWS)]
    assert one.splits.tolist() == other.splits.tolist()


def test_comparisons_grow_by_the_square_and_then_by_the_number():
    assert comparisons(1_000) == 1_000**2
    assert comparisons(100_000) == 100_000**2
    assert comparisons(2_000_000) == 2 * comparisons(1_000_000) == 2_000_000 * 50_000


def test_comparisons_with_unknown_images_are_those_of_both():
    assert comparisons(60_000, 40_000) == 100_000**2
    assert comparisons(60_000, 41_000) == 101_000 * 91_000
    assert comparisons(1_000_000, 200_000) == 1_200_000 * 100_000


def test_no_more_are_compared_than_is_said(source, index, unknown, many, monkeypatch):
    asked = []

    def search(prints, parts, shape, rows):
        asked.append(len(rows) * len(parts))
        return near_duplicates(prints, parts, shape, rows)

    monkeypatch.setattr(image_similarity, "near_duplicates", search)
    near_duplicate_facts(source, index)
    near_duplicate_facts(source, index, unknown)
    assert asked == [comparisons(ROWS), comparisons(ROWS, 200)]
