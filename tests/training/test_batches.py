import pytest
import torch
from tests.training.bars import Told, bars, training_images

from demur.data import from_tensors
from demur.errors import DataError
from demur.training import gather

FEW_BYTES = 10


def epoch(found, batch=16, seed=0):
    return list(found.batches(batch, torch.Generator().manual_seed(seed)))


def rounded():
    """The bars with pixels of 8 bits."""
    whole = bars()
    return from_tensors((whole.images.clamp(max=1) * 255).round() / 255, whole.labels, classes=whole.classes)


def keys(batches):
    """Which images there are, told by their pixels."""
    return [tuple(image.flatten().tolist()) for images, _ in batches for image in images]


@pytest.mark.parametrize("cap", [1 << 20, FEW_BYTES], ids=["held", "streamed"])
def test_an_epoch_has_every_image_once_with_its_label(cap):
    found = epoch(training_images(cap=cap))
    whole = {tuple(row.image.flatten().tolist()): row.label for row in bars().read(range(64))}
    assert sorted(keys(found)) == sorted(whole)
    assert [int(label) for _, labels in found for label in labels] == [whole[key] for key in keys(found)]


@pytest.mark.parametrize("cap", [1 << 20, FEW_BYTES], ids=["held", "streamed"])
def test_the_order_is_the_dice_s(cap):
    first = keys(epoch(training_images(cap=cap)))
    assert first == keys(epoch(training_images(cap=cap)))
    assert first != keys(epoch(training_images(cap=cap), seed=1))


def test_an_incomplete_last_batch_is_left_out():
    found = training_images(50)
    assert found.steps(16) == len(epoch(found)) == 3


def test_a_streamed_set_is_shuffled_across_windows(monkeypatch):
    monkeypatch.setattr("demur.training.batches.WINDOW", 8)
    monkeypatch.setattr("demur.training.batches.POOL", 4 * 8 * 64)  # four windows of 8 images of 64 bytes
    whole = keys([(torch.stack([row.image for row in bars(320).read(range(320))]), None)])
    place = {key: number for number, key in enumerate(whole)}
    order = [place[key] for key in keys(epoch(training_images(320, cap=FEW_BYTES)))]
    assert all(len({number // 8 for number in order[start : start + 16]}) > 2 for start in range(0, 320, 32))
    assert {number // 8 for number in order[:32]} != {0, 1, 2, 3}


def test_images_come_back_exactly_whatever_they_are_held_as():
    images = torch.tensor([0.0, 1.0, 0.1, 77 / 255]).view(4, 1, 1, 1).expand(-1, 1, 4, 4)
    source = from_tensors(images, torch.tensor([0, 1, 0, 1]), classes=("a", "b"))
    found = keys(epoch(gather(source, range(4), torch.tensor([0, 1, 0, 1])), batch=4))
    assert sorted(found) == sorted(tuple(image.flatten().tolist()) for image in images)


def test_what_is_held_is_capped():
    read = []

    class Watched(Told):
        def read(self, positions):
            read.extend(positions)
            return super().read(positions)

    labels = torch.arange(64) % 2
    for whole, bytes_per_pixel in ((bars(), 4), (rounded(), 1)):
        for cap, held in ((64 * 64 * bytes_per_pixel, True), (64 * 64 * bytes_per_pixel - 1, False)):
            found = gather(Watched(whole), range(64), labels, cap)
            before = len(read)
            epoch(found)
            assert (len(read) == before) == held


@pytest.mark.parametrize("cap", [1 << 20, FEW_BYTES], ids=["held", "streamed"])
def test_only_the_rows_asked_for_are_learned_and_torn_ones_passed_over(cap):
    found = gather(Told(bars(), unreadable=[3]), range(20), torch.arange(20) % 2, cap)
    wanted = [tuple(row.image.flatten().tolist()) for row in bars().read([k for k in range(20) if k != 3])]
    assert sorted(keys(epoch(found, batch=19))) == sorted(wanted)


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(DataError, match="no images to learn from"):
        gather(bars(), [], torch.tensor([], dtype=torch.int64))


def test_a_class_without_images_is_refused():
    with pytest.raises(DataError, match="every class needs images to learn from; bars has none of 'middle', 'left'"):
        gather(bars(classes=("top", "bottom", "middle", "left")), range(64), torch.arange(64) % 2)
