"""Whatever bytes a file holds, its reader gives rows, or says in one of demur's own errors what is wrong."""

import gzip
import io
import struct
import tarfile
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from tests.data.test_tiff_bands import tiff

from demur.adapters.address_options import Options
from demur.adapters.weights import load_weights
from demur.data import build_index, open_data
from demur.errors import DemurError
from demur.pictures.decode_rules import DECODE_OPTIONS, Rules
from demur.pipeline.plan.plan_file import read_plan
from demur.registry import Address, build, parse

GREY = np.random.default_rng(0).integers(0, 256, (8, 6, 5), np.uint8)
NUMBERS = np.arange(8) % 2


def encoded(form, array=GREY[0]):
    out = io.BytesIO()
    Image.fromarray(array).save(out, form)
    return out.getvalue()


def saved(write, name):
    """The bytes that a function writes into a file."""
    with tempfile.TemporaryDirectory() as place:
        write(str(Path(place) / name))
        return (Path(place) / name).read_bytes()


def tarred(members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def idx(array):
    return struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


TABLE = pl.DataFrame({"image": [encoded("png", image) for image in GREY], "label": NUMBERS, "group": list("aabbccdd")})
LIST = "path,label,group,meta.site,label_weight\n" + "".join(
    f"{number}.png,{number % 2},g{number},{number / 2},1\n" for number in range(8)
)
MARK = "<annotation><size><height>6</height><width>5</width></size><object><name>cat</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox></object></annotation>"  # noqa: E501
WHOLE = {
    "set.npz": saved(
        lambda path: np.savez(path, images=GREY, labels=NUMBERS, groups=np.array(list("aabbccdd"))), "a.npz"
    ),
    "packed.npz": saved(lambda path: np.savez_compressed(path, images=GREY, labels=NUMBERS), "a.npz"),
    "set.parquet": saved(TABLE.write_parquet, "a.parquet"),
    "set.csv": LIST.encode(),
    "set.tar": tarred(
        {
            f"{number}.{kind}": content
            for number, image in enumerate(GREY)
            for kind, content in (
                ("png", encoded("png", image)),
                ("cls", str(number % 2).encode()),
                ("json", b'{"site": "x"}'),
            )
        }
    ),
    "set/cat/bands.tif": tiff(np.stack([GREY[0]] * 5).astype(np.uint16) * 257, packed=True),
    "t10k-images-idx3-ubyte": idx(GREY),
    "t10k-images-idx3-ubyte.gz": gzip.compress(idx(GREY)),
    "set/cat/a.png": encoded("png"),
    "set/cat/a.jpg": encoded("jpeg"),
    "set/cat/a.gif": encoded("gif"),
    "set/cat/a.tif": encoded("tiff"),
    "set/cat/a.bmp": encoded("bmp"),
    "set/cat/a.webp": encoded("webp"),
    "marks/cat/b.png": encoded("png"),
    "marks/cat/b.xml": MARK.encode(),
    "w.safetensors": saved(lambda path: save_file(torch.nn.Linear(3, 2).state_dict(), path), "w"),
    "w.pt": saved(lambda path: torch.save({"state_dict": torch.nn.Linear(3, 2).state_dict()}, path), "w"),
    "plan.toml": b'[conditions]\nuse = ["pgd(eps=[1/255, 0.1], steps=3)"]\n[gates]\n"clean.accuracy" = ">= 0.8"',
}
"""Files as they should be, by name."""

PLACES = st.tuples(st.floats(0, 1), st.sampled_from(["put", "cut", "drop", "twice", "swap"]), st.binary(max_size=9))
EDITS = st.lists(PLACES, min_size=1, max_size=6)


def harmed(content, edits):
    """A file with some bytes replaced, left out, repeated or swapped, or cut off."""
    for share, how, put in edits:
        at = int(share * len(content))
        before, after = content[:at], content[at:]
        content = {
            "put": before + put + after[len(put) :],
            "cut": before,
            "drop": before + after[len(put) :],
            "twice": before + after[:64] + after,
            "swap": after + before,
        }[how]
    return content


def read(name):
    """Meet a file as the command line does."""
    scheme = {"npz": "npz", "parquet": "parquet", "csv": "csv", "tar": "webdataset"}.get(name.rpartition(".")[2])
    if scheme is not None:
        return build_index(open_data(f"{scheme}:{name}"))
    if name.startswith("t10k"):
        return build_index(open_data("idx:."))
    if name.startswith("set/"):
        return build_index(open_data("folder:set"))
    if name.startswith("marks/"):
        return build_index(open_data(f"folder:set?{'boxes' if name.endswith('xml') else 'masks'}=../marks"))
    if name.endswith("toml"):
        return read_plan(Path(name))
    return load_weights(torch.nn.Linear(3, 2), name)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of whole files, the current one."""
    monkeypatch.chdir(tmp_path)
    for kind in ("cat", "dog"):
        (tmp_path / "set" / kind).mkdir(parents=True)
        (tmp_path / "set" / kind / "b.png").write_bytes(encoded("png", GREY[1 + (kind == "dog")]))
    (tmp_path / "marks" / "cat").mkdir(parents=True)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(NUMBERS))
    for number, image in enumerate(GREY):
        (tmp_path / f"{number}.png").write_bytes(encoded("png", image))
    return tmp_path


@contextmanager
def answered():
    """Only one of demur's own errors may leave, and it must not be endless."""
    try:
        yield
    except DemurError as error:
        said = str(error)
    else:
        return
    assert 10 < len(said) < 4_000


def meet(place, name, edits):
    path = place / name
    path.write_bytes(harmed(WHOLE[name], edits))
    with answered():
        read(name)
    path.unlink()


FILES = pytest.mark.parametrize("name", WHOLE)
SHORT = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
LONG = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


@FILES
def test_whole_files_are_read(place, name):
    (place / name).write_bytes(WHOLE[name])
    read(name)


@FILES
@SHORT
@given(edits=EDITS)
def test_a_harmed_file_is_rows_or_an_error(place, name, edits):
    meet(place, name, edits)


@pytest.mark.slow
@FILES
@LONG
@given(edits=EDITS)
def test_many_harmed_files_are_rows_or_errors(place, name, edits):
    meet(place, name, edits)


@pytest.mark.slow
@LONG
@given(
    shape=st.lists(st.integers(-3, 2**66) | st.sampled_from([0, 1, 8, 5]), max_size=5),
    kind=st.sampled_from(["|u1", "<f4", "|b1", "<U3", "|S2", "<c8", "<M8[D]", "|V4", "|O", "<i8", "<u8", ">f8", "<f2"]),
    fortran=st.booleans(),
    version=st.sampled_from([1, 2, 3, 9]),
)
def test_any_head_of_an_array_is_rows_or_an_error(place, shape, kind, fortran, version):
    text = repr({"descr": kind, "fortran_order": fortran, "shape": tuple(shape)}).ljust(100) + "\n"
    start = b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text.encode()
    with zipfile.ZipFile(place / "set.npz", "w") as archive:
        for name in ("images", "labels"):
            archive.writestr(f"{name}.npy", start + bytes(320))
    with answered():
        read("set.npz")


VALUE = st.text(max_size=20) | st.sampled_from(["1e9", "-1", "nan", "true", "8", "8x8", "0.5", "9" * 5000, "٣", "²"])
NESTED = st.recursive(VALUE, lambda inner: inner.map("[{}]".format) | inner.map("f(a={})".format), max_leaves=9)


@SHORT
@given(option=st.sampled_from([*DECODE_OPTIONS, "mean", "std", "channels", "size"]), value=VALUE)
def test_any_option_is_read_or_refused(option, value):
    for meet_option in (
        lambda: Rules.of({option: value}),
        lambda: Options.read(Address.parse(f"zoo:resnet20?{option}={value}", "model"), ("a", "b"), (1, 8, 8)),
    ):
        with answered():
            meet_option()


@SHORT
@given(text=st.text(max_size=60) | NESTED, field=st.sampled_from(["eps", "steps", "k", "x"]))
def test_any_name_or_address_is_read_or_refused(text, field):
    for meet_text in (
        lambda: parse(text),
        lambda: build("attack", f"pgd({field}={text})"),
        lambda: Address.parse(text, "data"),
        lambda: Address.parse(f"csv:{text}", "data"),
        lambda: read_plan(None, [f"conditions.use={text}", f"batch={text}"]),
    ):
        with answered():
            meet_text()


@pytest.mark.slow
@LONG
@given(option=st.sampled_from([*DECODE_OPTIONS, "mean", "std", "channels", "size"]), value=VALUE, text=st.text())
def test_many_options_and_names_are_read_or_refused(option, value, text):
    test_any_option_is_read_or_refused.hypothesis.inner_test(option, value)
    test_any_name_or_address_is_read_or_refused.hypothesis.inner_test(text, "eps")
