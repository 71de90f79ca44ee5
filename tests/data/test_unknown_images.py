"""Images of none of the classes: any address, labels ignored, decoded as the audited ones are."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data.image_files import picture, save

from demur.data import build_index, from_tensors, open_data, open_unknown
from demur.data.index import NO_LABEL
from demur.data.memory import unlabelled
from demur.data.unknown_images import unknown_images
from demur.errors import AddressError, DataError

NAMES = ("cat/1.png", "cat/2.png", "dog/3.png", "dog/4.png")


@pytest.fixture
def audited(tmp_path):
    save(tmp_path / "audited", NAMES, shape=(8, 12))
    return open_data(f"folder:{tmp_path / 'audited'}")


def pixels(source):
    return torch.stack([row.image for row in source.read(range(len(source)))])


def test_a_folder_needs_no_classes_here(audited, tmp_path):
    save(tmp_path / "others", ("1.png", "2.png", "3.png"), shape=(8, 12))
    found = open_unknown(f"folder:{tmp_path / 'others'}", audited)
    assert [row.sample_id for row in found.read(range(3))] == ["1.png", "2.png", "3.png"]
    expected = torch.stack([torch.from_numpy(np.asarray(picture(k, (8, 12))) / np.float32(255)) for k in range(3)])
    assert torch.equal(pixels(found)[:, 0], expected)
    assert torch.equal(pixels(pickle.loads(pickle.dumps(found))), pixels(found))


def test_images_of_many_sizes_and_in_colour_become_what_the_audited_are(audited, tmp_path):
    root = tmp_path / "others"
    root.mkdir()
    for number, shape in enumerate([(20, 30), (16, 9), (8, 12)]):
        picture(number, (*shape, 3)).save(root / f"{number}.png")
    found = open_unknown(f"folder:{root}", audited)
    assert [row.error for row in found.read(range(3))] == [None] * 3
    expected = Image.open(root / "0.png").convert("L").resize((12, 8), Image.Resampling.BILINEAR)
    assert torch.equal(pixels(found)[0, 0], torch.from_numpy(np.asarray(expected) / np.float32(255)))


def test_the_rules_of_the_audited_images_hold_and_an_address_may_have_its_own(tmp_path):
    save(tmp_path / "audited", NAMES, shape=(8, 12))
    save(tmp_path / "others", ("1.png",), shape=(10, 30))
    audited = open_data(f"folder:{tmp_path / 'audited'}?size=4&crop=center")
    cut = open_unknown(f"folder:{tmp_path / 'others'}", audited)
    window = picture(0, (10, 30)).resize((4, 4), Image.Resampling.BILINEAR, box=(10, 0, 20, 10))
    assert torch.equal(pixels(cut)[0, 0], torch.from_numpy(np.asarray(window) / np.float32(255)))
    with pytest.raises(DataError, match="they have 1×2×2"):
        open_unknown(f"folder:{tmp_path / 'others'}?size=2", audited)


def test_a_scheme_without_sizes_must_have_the_shape(audited):
    with pytest.raises(DataError, match=r"must have the shape of those of .*, 1×8×12; they have 1×28×28"):
        open_unknown("fashion", audited)
    with pytest.raises(AddressError, match="colours"):
        open_unknown("folder:nowhere?colours=3", audited)


def test_every_row_is_of_the_test_split_without_a_label():
    images = torch.rand(12, 1, 4, 4)
    first = build_index(from_tensors(images, torch.arange(12) % 2, classes=("a", "b")))
    other = from_tensors(images[:5] / 2, torch.tensor([0, 1, 2, 0, 7]), classes=("cat", "A", "_b_"), name="others")
    found = unknown_images(other, first, ("a", "b"))
    assert set(found.index.splits) == {"test"}
    assert found.index.labels.tolist() == [NO_LABEL] * 5
    assert found.index.sample_ids[0] == "unknown:000000"
    assert (found.shared_classes, found.shared_images) == (("A", "_b_"), 2)
    again = unknown_images(from_tensors(images[:5] / 2, torch.zeros(5).long(), classes=("x", "y")), first, ("a", "b"))
    assert again.index.sha256 == found.index.sha256
    assert again.shared_classes == ()
    assert len(unknown_images(other, first, ("a", "b"), limit=3).index) == 3


def test_ids_and_pixels_are_checked():
    first = build_index(from_tensors(torch.rand(12, 1, 4, 4), torch.arange(12) % 2, classes=("a", "b")))
    with pytest.raises(DataError, match="divide by 255"):
        unknown_images(unlabelled(torch.rand(3, 1, 4, 4) * 255), first, ("a", "b"))
    with pytest.raises(DataError, match="no readable image"):
        unknown_images(unlabelled(torch.rand(0, 1, 4, 4)), first, ("a", "b"))


@pytest.mark.parametrize("given", [torch.rand(3, 1, 4, 4), np.full((3, 1, 4, 4), 0.5)])
def test_images_alone_are_enough_in_python(given):
    assert [row.image.shape for row in unlabelled(given).read(range(3))] == [(1, 4, 4)] * 3
