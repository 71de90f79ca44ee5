"""A source under other classes keeps its images, and every label goes where its class has gone."""

import pickle

import pytest
import torch
from tests.data.image_files import save

from demur.data import from_tensors, open_data
from demur.data.relabelled import as_opened, under_classes
from demur.errors import DataError

MODEL = ("ant", "bee", "cat", "dog", "eel")


@pytest.fixture
def folder(tmp_path):
    save(tmp_path / "set", ["Dog/1.png", "Dog/2.png", "ant/1.png", "bee/1.png"])
    (tmp_path / "map.csv").write_text("fine,coarse\nDog,pet\nant,insect\nbee,insect\nworm,insect\n")
    return tmp_path


def labels(source):
    return [row.label for row in source.read(range(len(source)))]


def test_labels_become_places_among_the_classes_of_the_model(folder):
    source = open_data(f"folder:{folder / 'set'}")
    found = under_classes(source, MODEL, "the model")
    assert (found.classes, labels(found)) == (MODEL, [3, 3, 0, 1])
    assert (found.address, found.input_shape, len(found)) == (source.address, source.input_shape, 4)
    assert labels(pickle.loads(pickle.dumps(found))) == [3, 3, 0, 1]
    for one, other in zip(found.read([2, 0]), source.read([2, 0]), strict=True):
        assert torch.equal(one.image, other.image)
    assert as_opened(found) is source


def test_the_same_classes_in_the_same_order_change_nothing(folder):
    source = open_data(f"folder:{folder / 'set'}")
    assert under_classes(source, source.classes, "the model") is source


def test_second_labels_go_with_the_first(folder):
    (folder / "set" / "metadata.csv").write_text("path,label2\nDog/1.png,bee\nant/1.png,\n")
    found = under_classes(open_data(f"folder:{folder / 'set'}"), MODEL, "the model")
    assert [row.label2 for row in found.read(range(4))] == [1, None, None, None]


def test_classes_that_the_model_does_not_have_are_refused(folder):
    with pytest.raises(DataError, match="1 of 3 are none of its 4"):
        under_classes(open_data(f"folder:{folder / 'set'}"), ("ant", "bee", "cat", "eel"), "the model")


def test_a_label_that_is_no_class_is_told_with_the_classes_of_the_data():
    images = torch.rand(4, 1, 2, 2)
    source = from_tensors(images, torch.tensor([0, 1, 1, 2]), classes=("dog", "ant"))
    with pytest.raises(DataError, match=r"has label 2; the 2 classes .* numbered 0 to 1"):
        labels(under_classes(source, MODEL, "the model"))


def test_a_map_behind_a_data_address_joins_its_classes(folder):
    address = f"folder:{folder / 'set'}?size=4&classes=@{folder / 'map.csv'}"
    source = open_data(address)
    assert (source.address, source.classes, labels(source)) == (address, ("pet", "insect"), [0, 0, 1, 1])
    assert labels(pickle.loads(pickle.dumps(source))) == [0, 0, 1, 1]
    met = under_classes(source, ("insect", "plant", "pet"), "the model")
    assert labels(met) == [2, 2, 0, 0]
    assert as_opened(met).classes == ("Dog", "ant", "bee")


def test_a_map_must_have_every_class_of_the_data(folder):
    (folder / "map.csv").write_text("Dog,pet\nant,insect\n")
    with pytest.raises(DataError, match="1 of 3 are none of its 2"):
        open_data(f"folder:{folder / 'set'}?classes=@{folder / 'map.csv'}")


def test_names_from_a_file_are_those_of_the_numbers(folder, tmp_path):
    (folder / "set" / "list.csv").write_text("path,label\nDog/1.png,0\nant/1.png,1\nbee/1.png,2\n")
    (tmp_path / "names.txt").write_text("dog, domestic\nant\nbee\n")
    source = open_data(f"csv:{folder / 'set' / 'list.csv'}?classes=@{tmp_path / 'names.txt'}")
    assert (source.classes, labels(source)) == (("dog, domestic", "ant", "bee"), [0, 1, 2])
    assert labels(under_classes(source, MODEL, "the model")) == [3, 0, 1]
