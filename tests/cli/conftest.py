import io
import sys
from dataclasses import dataclass

import polars as pl
import pytest
from PIL import Image
from tests import tiny

from demur.cli import main

ROWS = 400

QUICK = ("--set", 'conditions.use=["clean"]')


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    status: int
    out: str
    err: str


@pytest.fixture
def demur(capsys, monkeypatch, tmp_path):
    """A function that runs a command line in an empty directory of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["demur", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        return Said(left.value.code or 0, *capsys.readouterr())

    yield call
    for name in set(sys.modules) - before:
        if name.startswith("net_"):
            del sys.modules[name]


@pytest.fixture
def factory(tmp_path):
    """A function that writes a module whose `net()` builds a network, and returns its address."""

    def write(body, imports=""):
        name = f"net_{tmp_path.name}"
        code = f"import torch\nfrom torch import nn\nfrom tests.tiny import Net\n{imports}\n\ndef net():\n    {body}\n"
        (tmp_path / f"{name}.py").write_text(code)
        return f"module:{name}:net"

    return write


@pytest.fixture
def good(factory):
    """The address of a net that fits the data."""
    return factory("return Net()")


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """The address of the patterns as a Parquet file."""
    return write_parquet(tmp_path_factory.mktemp("data") / "test.parquet")


def write_parquet(path, labels=None):
    images, own = tiny.images_and_labels(ROWS)
    cells = []
    for image in (images[:, 0] * 255).round().byte().numpy():
        out = io.BytesIO()
        Image.fromarray(image).save(out, "png")
        cells.append(out.getvalue())
    pl.DataFrame({"image": cells, "label": own.tolist() if labels is None else labels}).write_parquet(path)
    return f"parquet:{path}?classes={','.join(tiny.CLASSES)}"


def refused(said, *words):
    """One paragraph with these words."""
    *progress, paragraph = said.err.rstrip("\n").split("demur: ", 1)
    assert said.status == 2, said
    assert said.out == ""
    assert "Traceback" not in said.err
    assert "\n\n" not in paragraph
    lines = {line for line in "".join(progress).splitlines() if not line.endswith("was run in this process")}
    assert lines <= {"reading the images", "checking the model and the data"}
    for word in words:
        assert word in paragraph, paragraph
    return paragraph
