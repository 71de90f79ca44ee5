import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

from demur.data import build_index, from_dataset, from_tensors
from demur.errors import DataError

IMAGES = torch.rand(6, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.tensor([0, 1, 0, 1, 0, 1])
GROUPS = ["a", "a", "b", "b", "c", "c"]


class Items(Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, position):
        item = self.items[position]
        if isinstance(item, Exception):
            raise item
        return item


@pytest.mark.parametrize(
    "source",
    [
        from_tensors(IMAGES, LABELS, classes=["x", "y"], groups=GROUPS),
        from_dataset(TensorDataset(IMAGES, LABELS), classes=["x", "y"], groups=GROUPS),
    ],
    ids=["tensors", "dataset"],
)
def test_rows_come_in_the_order_asked_for(source):
    rows = list(source.read([5, 0]))
    assert len(source) == 6
    assert source.input_shape == (3, 4, 4)
    assert [(row.sample_id, row.label, row.group) for row in rows] == [("000005", 1, "c"), ("000000", 0, "a")]
    torch.testing.assert_close(rows[0].image, IMAGES[5].float())


def test_pillow_images_are_decoded():
    picture = Image.new("RGB", (4, 2), (255, 0, 51))
    source = from_dataset(Items([(picture, 0), (Image.new("L", (4, 2), 51), 1)]), classes=["x", "y"])
    first, second = source.read([0, 1])
    assert source.input_shape == (3, 2, 4)
    torch.testing.assert_close(first.image[:, 0, 0], torch.tensor([1, 0, 0.2]))
    torch.testing.assert_close(second.image, torch.full((3, 2, 4), 0.2))


@pytest.mark.parametrize(
    ("images", "labels", "says"),
    [
        ((IMAGES * 255).int(), LABELS, "divide by 255"),
        (IMAGES[0], LABELS, "got the shape"),
        (IMAGES, LABELS[:5], "must be 6 whole numbers"),
        (IMAGES, LABELS.float(), "got torch.float32"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(images, labels, says):
    with pytest.raises(DataError, match=says):
        from_tensors(images, labels, classes=["x", "y"])


def test_float_bytes_are_refused_by_the_index():
    with pytest.raises(DataError, match="divide by 255"):
        build_index(from_tensors((IMAGES * 255).round(), LABELS, classes=["x", "y"]))


def test_groups_must_be_complete():
    with pytest.raises(DataError, match="got 2 for 6 images"):
        from_tensors(IMAGES, LABELS, classes=["x", "y"], groups=["a", "b"])


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([], "is empty"),
        ([("path.png", 0)], "got str"),
        ([(IMAGES[0].int(), 0)], "divide by the value of white"),
        ([ValueError("no such scan")], "item 0 of 'dataset' is not a readable .* no such scan"),
        ([(Image.new("F", (2, 2)), 0)], "cannot tell the size"),
    ],
)
def test_data_sets_that_do_not_fit_are_refused(items, says):
    with pytest.raises(DataError, match=says):
        from_dataset(Items(items), classes=["x", "y"])
