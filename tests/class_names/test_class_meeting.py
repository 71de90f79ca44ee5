"""Classes of data find theirs among a model's by name, synset or number; what finds none is shown."""

import os
from pathlib import Path

import pytest

from demur.class_names import meeting
from demur.class_names.imagenet import imagenet_names, imagenet_synsets, imagenet_words
from demur.data.tiny_imagenet import open_source
from demur.errors import DataError
from demur.registry import Address

FRUIT = ("apple, orchard apple", "Blood_Orange", "pear")


@pytest.mark.parametrize(
    ("data", "model", "places", "by"),
    [
        (("pear", "apple, orchard apple"), FRUIT, (2, 0), "name"),
        (("blood orange", "PEAR"), FRUIT, (1, 2), "name"),
        (("blood-orange", "  Pear "), FRUIT, (1, 2), "name"),
        (("apple", "pear"), FRUIT, (0, 2), "name"),
        (("apple, the fruit of the tree",), FRUIT, (0,), "name"),
        (("2", "0"), FRUIT, (2, 0), "number"),
        (("0", "1", "10", "2"), tuple("abcdefghijkl"), (0, 1, 10, 2), "number"),
        (("cat", "dog"), ("0", "1"), (0, 1), "place"),
        (("n01443537", "n01440764"), ("tench", "goldfish"), (1, 0), "synset"),
        (("goldfish", "tench"), ("n01440764", "n01443537"), (1, 0), "synset"),
        (("Tinca tinca", "kite"), ("tench", "kite"), (None, 1), "name"),
        (("3",), FRUIT, (None,), "number"),
        (("plum", "pear"), FRUIT, (None, 2), "name"),
    ],
)
def test_a_class_is_found_by_what_it_is_called(data, model, places, by):
    found = meeting(data, model)
    assert (found.places, found.by) == (places, by)


def test_names_that_both_have_are_never_taken_by_their_place():
    """Two orders of the same names, and two sets of names of the same length."""
    assert meeting(("cat", "dog"), ("dog", "cat")).places == (1, 0)
    assert meeting(("cat", "dog"), ("disc", "bar")).places == (None, None)


def test_a_name_that_several_classes_share_is_none_of_them():
    found = meeting(("crane", "pear"), ("Crane", "CRANE", "pear"))
    assert found.places == (None, 2)


def test_numbers_that_name_as_many_classes_stand_for_places_in_their_own_order_only():
    assert meeting(("cat", "dog"), ("1", "0")).missing == ("cat", "dog")


@pytest.mark.parametrize(
    ("data", "places"),
    [
        (("not cyst", "cyst"), (0, 1)),
        (("normal", "cyst"), (0, 1)),
        (("cyst", "other"), (1, 0)),
        (("0", "1"), (0, 1)),
        (("True", "False"), (1, 0)),
        (("absent", "present"), (0, 1)),
        (("left", "right"), (None, None)),
    ],
)
def test_the_two_classes_of_a_finding_have_many_names(data, places):
    assert meeting(data, ("not cyst", "cyst")).places == places


def test_the_list_of_imagenet_is_whole_and_in_order():
    synsets, names = imagenet_synsets(), imagenet_names()
    assert len(set(synsets)) == len({name.casefold() for name in names}) == 1000
    assert list(synsets) == sorted(synsets)
    assert (synsets[0], names[0], names[999]) == ("n01440764", "tench", "toilet tissue")
    assert Path("src/demur/class_names/ilsvrc2012.txt").stat().st_size <= 40_000


def test_synsets_words_and_first_words_of_imagenet_lead_to_its_outputs():
    names = imagenet_names()
    assert meeting(imagenet_synsets(), names).places == tuple(range(1000))
    assert meeting(imagenet_words(), names).missing == ()
    assert meeting(imagenet_synsets(), imagenet_words()).places == tuple(range(1000))
    cropped = [words.rpartition(",")[2].strip() for words in imagenet_words()]  # some other word of each class
    found = meeting(imagenet_synsets(), cropped).places
    assert found == tuple(range(1000)), "a list in their order is theirs, whichever of their words it has"


def test_the_classes_of_imagenette_are_found_by_their_folders():
    """Howard (2019), github.com/fastai/imagenette."""
    folders = ("n01440764", "n02102040", "n02979186", "n03000684", "n03028079",
               "n03394916", "n03417042", "n03425413", "n03445777", "n03888257")  # fmt: skip
    assert meeting(folders, imagenet_names()).places == (0, 217, 482, 491, 497, 566, 569, 571, 574, 701)


@pytest.mark.skipif("DEMUR_SHARED" not in os.environ, reason="needs DEMUR_SHARED")
def test_the_classes_of_tiny_imagenet_are_found_by_their_names():
    folder = Path(os.environ["DEMUR_SHARED"]) / "data" / "tiny-imagenet"
    classes = open_source(Address.parse(f"tiny-imagenet:{folder}", "data")).classes
    found = meeting(classes, imagenet_names())
    assert not found.missing
    assert len(set(found.places)) == 200
    assert found.places[:3] == (1, 25, 30)


def test_what_is_missing_stands_in_a_table_beside_the_nearest():
    data = (*FRUIT[:1], *(f"pearl {k}" for k in range(30)))
    with pytest.raises(DataError) as told:
        meeting(data, FRUIT).whole("zoo:net", "folder:fruit")
    lines = str(told.value).splitlines()
    assert len(lines) <= 24
    assert "30 of 31 are none of its 3" in lines[0]
    assert [cell.strip() for cell in lines[1].strip().split("  ") if cell] == ["in the data", "nearest in the model"]
    assert lines[2].split() == ["pearl", "0", "pear"]
    assert any("16 more" in line for line in lines)
    assert all(way in lines[-2] + lines[-1] for way in ("?classes=a,b,…", "@names.txt", "@map.csv"))
    assert max(map(len, lines)) <= 120


def test_the_nearest_of_a_shared_name_are_those_that_share_it():
    with pytest.raises(DataError, match=r"crane +crane \(n02012849\), crane \(n03126707\)"):
        meeting(("crane", "tench"), imagenet_names()).whole("model", "data")


def test_numbers_from_1_are_told_from_numbers_from_0():
    with pytest.raises(DataError, match="begin at 1, those of the model at 0"):
        meeting(("1", "2", "3"), FRUIT).whole("model", "data")


def test_two_classes_of_the_data_are_no_single_class_of_the_model():
    with pytest.raises(DataError, match=r"'pear' and 'Pear' of data are one class of model.*@map\.csv"):
        meeting(("pear", "Pear"), FRUIT).whole("model", "data")
