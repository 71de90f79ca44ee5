"""Images that are kept are the images, to the last bit, and no more of them than the budget says."""

import pickle

import pytest
import torch
from tests import tiny

from demur.data import build_index
from demur.data.kept_images import KeepingSource, KeptImages
from demur.data.source import Row

SHAPE = (3, 4, 5)


class Pictures:
    """Images of 8 bits that count how often each was read."""

    address, classes, input_shape = "pictures", ("a", "b"), SHAPE

    def __init__(self, rows, bits=255):
        draw = torch.Generator().manual_seed(0)
        self.images = torch.randint(0, bits + 1, (rows, *SHAPE), generator=draw) / bits
        self.read_at = []

    def __len__(self):
        return len(self.images)

    def read(self, positions):
        for position in positions:
            self.read_at.append(position)
            yield Row(f"{position:03d}", self.images[position], position % 2)


def kept_of(source, budget):
    kept = KeptImages(budget)
    build_index(KeepingSource(source, kept))
    return kept


def test_what_was_kept_is_the_same_to_the_bit():
    source = Pictures(256)
    kept = kept_of(source, 1 << 20)
    assert len(kept) == 256
    found = torch.full((4, *SHAPE), torch.nan)
    assert kept.fill(found, [7, 255, 0, 7]) == []
    assert torch.equal(found, source.images[[7, 255, 0, 7]])


def test_the_budget_is_never_passed():
    source = Pictures(100)
    kept = kept_of(source, 60 * 33 + 59)
    assert len(kept) == 33
    assert kept._store.numel() <= kept.budget
    found = torch.zeros(4, *SHAPE)
    assert kept.fill(found, [32, 33, 0, 99]) == [1, 3]
    assert torch.equal(found[[0, 2]], source.images[[32, 0]])
    assert not found[[1, 3]].any()


def test_images_of_more_than_8_bits_are_not_kept_and_soon_not_tried(monkeypatch):
    kept = KeptImages(1 << 20)
    tried = []
    monkeypatch.setattr(torch, "equal", lambda one, other: bool(tried.append(1)) or bool((one == other).all()))
    for position, image in enumerate(Pictures(200, bits=1023).images):
        kept.keep(position, image)
    assert len(kept) == 0
    assert len(tried) == 64


def test_nothing_is_kept_without_a_budget():
    assert len(kept_of(Pictures(10), 0)) == 0


def test_it_travels_empty():
    kept = kept_of(Pictures(10), 600)
    other = pickle.loads(pickle.dumps(kept))
    assert (len(kept), len(other), other.budget) == (10, 0, 600)


@pytest.mark.parametrize("budget", [0, 60 * 20, 1 << 20])
def test_a_run_does_not_depend_on_what_was_kept(budget, tmp_path):
    from tests.pipeline.test_job import job_of, shard_hashes

    def job(kept):
        return job_of(Patterns(), model=None, classifier=tiny.classifier(), kept=kept)

    assert shard_hashes(job(KeptImages(budget))) == shard_hashes(job(KeptImages(0)))


class Patterns:
    """The patterns of the tiny audits as pictures of 8 bits."""

    address, classes, input_shape = "patterns", tiny.CLASSES, tiny.SHAPE

    def __init__(self):
        images, self.labels = tiny.images_and_labels(120)
        self.images = (images * 255).round() / 255

    def __len__(self):
        return len(self.labels)

    def read(self, positions):
        for position in positions:
            yield Row(f"{position:03d}", self.images[position], int(self.labels[position]))
