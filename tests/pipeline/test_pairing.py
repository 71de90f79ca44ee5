"""Data are read as the source of a model says, where their address says nothing, and the report says how."""

import numpy as np
import pytest
import torch
from PIL import Image
from tests.odd_pictures import drawn, write_pictures

from demur.adapters import declarations
from demur.adapters.declarations import Declaration, declared
from demur.adapters.program_files import declared_shape
from demur.classifier import BoundClassifier
from demur.data import open_data
from demur.errors import InputError
from demur.pictures.decode_rules import Rules
from demur.pipeline.pairing import open_data_by, open_data_for, open_data_for_each
from demur.pipeline.preprocessing_lines import preprocessing_lines

RULES = Rules(size=(24, 24), resize=28, crop=True, interpolation="bicubic", channels=3)
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)


def own_way(picture):
    """The library's own way, of which `RULES` are the description."""
    wide, high = picture.size
    short = min(wide, high)
    sized = picture.resize((int(28 * wide / short), int(28 * high / short)), Image.Resampling.BICUBIC)
    left, top = round((sized.width - 24) / 2), round((sized.height - 24) / 2)
    values = torch.from_numpy(np.array(sized.crop((left, top, left + 24, top + 24)))).permute(2, 0, 1) / 255
    return (values - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def declare(address):
    rules = RULES if address.location == "one" else Rules(size=(24, 24), channels=3)
    return Declaration(rules=rules, words=(f"said of {address.location}",), transform=own_way)


@pytest.fixture(autouse=True)
def declaring(monkeypatch):
    monkeypatch.setattr(declarations, "DECLARATIONS", {"zoo": f"{__name__}:declare"})


@pytest.fixture
def folder(tmp_path):
    for number in range(4):
        place = tmp_path / "set" / "ab"[number % 2] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        drawn(40 + number, 60 - number, "RGB", number).save(place)
    return tmp_path / "set"


def classifier():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 24 * 24, 2)).eval()
    return BoundClassifier(net, classes=("a", "b"), input_shape=(3, 24, 24), mean=MEAN, std=STD)


def test_an_address_of_data_is_completed_by_what_the_model_declares(folder):
    source = open_data_for("zoo:one", f"folder:{folder}")
    assert source.address == f"folder:{folder}?size=24&resize=28&crop=center&interpolation=bicubic&colour=rgb"
    assert source.rules == RULES
    again = open_data_for("zoo:one", source.address)
    assert again.address == source.address
    assert open_data(source.address).rules == RULES  # by itself, without the model


def test_what_the_address_says_wins(folder):
    assert open_data_for("zoo:one", f"folder:{folder}?size=20").rules == Rules(
        size=(20, 20), interpolation="bicubic", channels=3
    )
    assert open_data_for("zoo:one", f"folder:{folder}?interpolation=nearest&colour=grey").rules == Rules(
        size=(24, 24), resize=28, crop=True, interpolation="nearest", channels=1
    )
    assert open_data_for(None, f"folder:{folder}?size=20").rules == Rules(size=(20, 20))


def test_a_set_of_one_shape_is_opened_as_it_is():
    source = open_data_for("zoo:one", "fashion")
    assert source.address == "fashion"
    assert preprocessing_lines("zoo:one", _of_shape(source.input_shape), source)[-1].startswith("NOT as the source")


def _of_shape(shape):
    size = int(np.prod(shape))
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(size, 2)).eval()
    return BoundClassifier(net, classes=("a", "b"), input_shape=shape)


def test_models_that_read_otherwise_are_not_compared(folder):
    with pytest.raises(InputError, match="read them differently: zoo:one wants short side scaled"):
        open_data_for_each(["zoo:one", "zoo:other"], f"folder:{folder}")
    named = f"folder:{folder}?size=24&interpolation=bilinear"
    assert open_data_for_each(["zoo:one", "zoo:other"], named).rules == Rules(size=(24, 24), channels=3)
    assert open_data_by(RULES, f"folder:{folder}").rules == RULES


def test_the_lines_say_that_the_library_reads_the_same(folder):
    source = open_data_for("zoo:one", f"folder:{folder}")
    assert preprocessing_lines("zoo:one", classifier(), source) == (
        "images: short side scaled to 28 px (bicubic), 24 × 24 px cut from the middle, RGB; 3 × 24 × 24 in [0, 1]",
        "into the model: normalised by mean 0.4, 0.5, 0.6 and std 0.2, 0.3, 0.25",
        "said of one",
        "4 pictures read by the model's own library too: all pixels are the same",
    )


def test_the_lines_say_where_it_does_not(folder):
    write_pictures(folder / "a")
    (folder / "a" / "deep.png").unlink()
    lines = preprocessing_lines("zoo:one", classifier(), open_data_for("zoo:one", f"folder:{folder}"))
    assert "3 differ, by up to" in lines[-1]
    assert "?alpha=ignore follows it" in lines[-1]
    assert "?exif=ignore follows it" in lines[-1]
    assert "without a known reason" not in lines[-1]
    wrong = BoundClassifier(classifier().as_module(), classes=("a", "b"), input_shape=(3, 24, 24), std=STD)
    found = preprocessing_lines("zoo:one", wrong, open_data_for("zoo:one", f"folder:{folder}"))
    assert found[1] == "into the model: normalised by std 0.2, 0.3, 0.25"
    assert "20 of them without a known reason" not in found[-1]
    assert "without a known reason" in found[-1]


def test_the_lines_say_that_the_data_are_cut_otherwise(folder):
    source = open_data_for("zoo:one", f"folder:{folder}?size=24")
    found = preprocessing_lines("zoo:one", classifier(), source)
    assert found[-1] == f"NOT as the source of the model has it, which is: {RULES.sentence}"


def test_a_file_that_says_its_size_alone_leaves_open_how_pictures_are_brought_to_it(folder, monkeypatch):
    monkeypatch.setattr(f"{__name__}.declare", lambda _: declared_shape("the graph", (3, 24, 24), 2), raising=True)
    cut = open_data_for("zoo:one", f"folder:{folder}?size=24&resize=28&crop=center")
    found = preprocessing_lines("zoo:one", classifier(), cut)
    assert (
        found[-1]
        == "the graph takes images of 3 × 24 × 24, and says nothing of how pictures are cut, scaled and normalised"
    )
    other = open_data_for("zoo:one", f"folder:{folder}?size=20")
    assert preprocessing_lines("zoo:one", classifier(), other)[-1].startswith("NOT as the source of the model has it")


def test_most_models_declare_nothing():
    assert declared("fashion") == Declaration()
