"""`demur explain` as a user meets it."""

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from tests import tiny
from tests.cli.conftest import refused

NET = """with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(3)
        layers = nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*layers)"""


@pytest.fixture
def model(factory):
    """The address of a net with a grid that knows nothing, always the same."""
    return factory(NET)


@pytest.fixture
def pictures(tmp_path):
    """A folder of four pictures, one of them torn, one in another folder, and a text."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    images, _ = tiny.images_and_labels(3)
    for name, image in zip(("a.png", "b.png", "more/a.png"), images, strict=True):
        save(folder / name, image[0])
    (folder / "torn.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not a picture")
    return folder


def save(path, image):
    Image.fromarray((image * 255).round().byte().numpy()).save(path)


def test_it_writes_overlays_and_a_table_and_says_what_it_saw(demur, model, pictures):
    said = demur("explain", model, pictures)
    assert said.status == 1, "one could not be read"
    assert said.err.splitlines() == ["grad_cam looks at the layer 2"]
    lines = said.out.splitlines()
    assert re.split(" {2,}", lines[0]) == [
        "image", "answer", "confidence", "map", "area of 50 %", "area of 90 %", "dispersion", "like grad_cam"
    ]  # fmt: skip
    assert len(lines) == 1 + 3 * 2 + 2 + 1 + 1 + 1
    assert [line.partition(":")[0] for line in lines[7:9]] == ["area of 50 %", "like grad_cam"]
    assert "name them with --classes FILE" in lines[9]
    assert lines[-2].endswith("torn.jpg: cannot decode the image: cannot identify image file")
    assert lines[-1] == "Table: explained/explain.csv"
    assert sorted(path.name for path in Path("explained").iterdir()) == sorted(
        ["explain.csv", *(f"{stem}-{name}.png" for stem in ("a", "a-2", "b") for name in ("grad_cam", "gradient"))]
    )
    assert np.asarray(Image.open("explained/a-gradient.png")).shape == (224, 224 * 2 + 7, 3)


def test_the_table_has_every_measure(demur, model, pictures):
    demur("explain", model, pictures, "--map", "gradient", "--map", "smooth_grad(n=2)", "--out", "here")
    table = pl.read_csv("here/explain.csv")
    assert table["image"].to_list() == [
        str(pictures / name) for name in ("a.png", "a.png", "b.png", "b.png", "more/a.png", "more/a.png", "torn.jpg")
    ]
    assert table["map"].to_list() == ["gradient", "smooth_grad(n=2)"] * 3 + [None]
    assert table["error"].is_null().to_list() == [True] * 6 + [False]
    assert {"area_50", "gini", "dispersion", "empty", "height", "shuffled.dispersion", "centred.gini"} <= {
        name.removeprefix("explain.") for name in table.columns
    }
    assert table["explain.height"].to_list() == [8] * 6 + [None]
    one, other = table["explain.agreement.gradient"].to_list(), table["explain.agreement.smooth_grad(n=2)"].to_list()
    assert one[0] is None
    assert -1 <= one[1] == other[0] <= 1
    assert table["explain.overlap.gradient"][1] == table["explain.overlap.smooth_grad(n=2)"][0]
    assert table["confidence"].to_list() == table["probability"].to_list()
    assert all(Path("here", file).exists() for file in table["file"].drop_nulls())


def test_json_is_the_whole_of_stdout(demur, model, pictures):
    said = demur("explain", model, pictures / "b.png", "--json", "--map", "integrated_gradients(steps=3)")
    assert said.status == 0
    (line,) = json.loads(said.out)
    assert (line["map"], line["file"]) == ("integrated_gradients(steps=3)", "b-integrated_gradients-steps-3.png")
    assert line["error"] is None
    assert 0 < line["explain.area_50"] < 1


def test_the_class_may_be_chosen(demur, model, pictures):
    named = f"{model}?classes={','.join(tiny.CLASSES)}"
    found = {}
    for name in tiny.CLASSES:
        said = demur(
            "explain", named, pictures / "b.png", "--class", name, "--json", "--map", "gradient", "--out", name
        )
        (found[name],) = json.loads(said.out)
    assert {line["explained"] for line in found.values()} == set(tiny.CLASSES)
    assert len({line["predicted"] for line in found.values()}) == 1
    assert len({line["explain.gini"] for line in found.values()}) == 3
    assert sum(line["probability"] for line in found.values()) == pytest.approx(1)
    words = demur("explain", named, pictures / "b.png", "--class", "bar", "--map", "gradient").out
    assert re.search(r", not bar \(\d+\.\d %\)", words) or "bar  " in words
    refused(demur("explain", named, pictures / "b.png", "--class", "barr"), "unknown class 'barr'. Did you mean 'bar'?")


def test_names_may_come_from_a_file(demur, model, pictures, tmp_path):
    (tmp_path / "names.txt").write_text("n01\tdisc\nn02\tbar\n\nn03\tcross\n")
    line = json.loads(demur("explain", model, pictures / "b.png", "--classes", "names.txt", "--json").out)[0]
    assert line["predicted"] in {"n01 disc", "n02 bar", "n03 cross"}
    said = refused(demur("explain", model, pictures, "--classes", "none.txt"), "one class name a line", "none.txt")
    assert "Errno" not in said
    refused(demur("explain", model, pictures, "--out", "names.txt"), "--out names the folder", "names.txt is a file")
    (tmp_path / "names.txt").write_text("disc\nbar\n")
    refused(demur("explain", model, pictures, "--classes", "names.txt"), "3 output(s) per image for 2 classes")


@pytest.mark.parametrize("address", ["fashion", "zoo:resnet20@w?classes=cat,dog"])
def test_classes_are_named_once(demur, pictures, address):
    refused(
        demur("explain", address, pictures, "--classes", "names.txt"), "named already", "Leave out --classes names.txt"
    )


def test_without_names_classes_are_numbers(demur, model, pictures):
    assert json.loads(demur("explain", model, pictures / "b.png", "--json").out)[0]["predicted"] in {"0", "1", "2"}


def test_the_shipped_model_knows_its_classes(demur, tmp_path):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8))
    image.save(tmp_path / "any.png")
    line = json.loads(demur("explain", "fashion", "any.png", "--json", "--map", "grad_cam").out)[0]
    assert not line["predicted"].isdecimal()
    assert (line["explain.height"], line["explain.width"]) == (7, 7)


def test_pictures_are_scaled_to_the_models_input(demur, factory, tmp_path):
    image = np.zeros((30, 60), dtype=np.uint8)
    image[:, 30:] = 255
    Image.fromarray(image).save(tmp_path / "wide.png")
    address = factory("return nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())")
    for crop in ((), ("--crop",)):
        said = demur("explain", f"{address}?size=10x20", "wide.png", "--json", "--map", "gradient", *crop)
        line = json.loads(said.out)[0]
        assert (line["explain.height"], line["explain.width"]) == (10, 20)


def test_the_same_command_writes_the_same_bytes_whatever_else_is_explained(demur, model, pictures):
    noisy = ("--map", "smooth_grad(n=3)")
    demur("explain", model, pictures, *noisy, "--out", "one")
    demur("explain", model, pictures, *noisy, "--out", "two")
    demur("explain", model, pictures / "b.png", *noisy, "--out", "alone")
    first, second = (sorted(Path(name).iterdir()) for name in ("one", "two"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    alone, among = (np.asarray(Image.open(f"{name}/b-smooth_grad-n-3.png")).astype(int) for name in ("alone", "one"))
    assert np.abs(alone - among).max() <= 2
    demur("explain", model, pictures / "b.png", *noisy, "--out", "seeded", "--seed", "1")
    assert Path("seeded/b-smooth_grad-n-3.png").read_bytes() != Path("alone/b-smooth_grad-n-3.png").read_bytes()


def test_what_was_written_before_is_not_explained(demur, model, pictures):
    inside = pictures / "explained"
    demur("explain", model, pictures, "--out", inside)
    before = (inside / "explain.csv").read_bytes()
    demur("explain", model, pictures, "--out", inside)
    assert (inside / "explain.csv").read_bytes() == before


def test_maps_that_are_zero_everywhere_are_counted(demur, factory, pictures):
    body = (
        "net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3)); "
    )
    against = "nn.init.ones_(net[0].weight); nn.init.constant_(net[4].weight, -1); return net"
    said = demur("explain", factory(body + against), pictures / "b.png", "--map", "grad_cam(layer='1')")
    assert said.status == 0
    assert "1 of 1 maps are zero everywhere: nothing speaks for the class." in said.out
    assert "–" in said.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--map", "grad_cma"), ("unknown map 'grad_cma'. Did you mean 'grad_cam'?",)),
        (("--map", "grad_cam(layer='3x')"), ("unknown layer '3x'",)),
        (("--map", "smooth_grad(sigma=3)"), ("`sigma` is a share",)),
        (("--device", "nowhere"), ("'nowhere'", "--device cpu")),
        (("missing",), ("there is no file or folder missing",)),
    ],
)
def test_what_cannot_be_done_is_one_paragraph(demur, model, pictures, arguments, words):
    refused(demur("explain", model, pictures, *arguments), *words)
    assert not Path("explained").exists()


def test_a_net_without_a_grid_is_told_which_maps_it_can_have(demur, good, pictures):
    refused(demur("explain", f"{good}?size=8", pictures), "no layer of net that feeds its answer", "smooth_grad")
    assert demur("explain", f"{good}?size=8", pictures / "b.png", "--map", "gradient").status == 0


def test_sizes_that_differ_must_be_named(demur, model, pictures):
    save(pictures / "large.png", tiny.images_and_labels(1)[0][0, 0].repeat(2, 2))
    refused(demur("explain", model, pictures), "the images come in 2 sizes, from 8×8 to 16×16", "?size=224")
    assert demur("explain", f"{model}?size=8", pictures / "large.png").status == 0


def test_pictures_that_cannot_be_read_at_all(demur, model, pictures, tmp_path):
    refused(demur("explain", model, pictures / "torn.jpg"), "none of 1 images can be read", "cannot decode")
    said = demur("explain", f"{model}?size=8&channels=1", pictures / "torn.jpg")
    assert said.status == 1
    assert said.out.splitlines()[0].startswith("✖ ")
    assert pl.read_csv("explained/explain.csv").columns == ["image", "error"]
    (tmp_path / "empty").mkdir()
    refused(demur("explain", model, "empty"), "the folder empty holds no pictures", ".png")
