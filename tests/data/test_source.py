"""A source sent to another process is the same source there."""

import hashlib
import io
import multiprocessing
import pickle
import tarfile
from importlib.util import find_spec

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from tests.data.image_files import save
from torch.utils.data import TensorDataset

from demur.data import from_dataset, from_tensors, open_data
from demur.errors import DataError
from demur.registry import TABLES

SHAPE = (6, 8, 3)


def folder(root):
    for name in ("cat", "dog"):
        save(root / name, ["a.png", "b.png"], SHAPE)
        (root / "masks" / name).mkdir(parents=True)
        Image.fromarray(np.eye(6, 8, dtype=np.uint8) * 255).save(root / "masks" / name / "a.png")
    return f"folder:{root}?masks=masks&size=6x8"


def csv(root):
    save(root, ["a.png", "b.png"], SHAPE)
    (root / "list.csv").write_text("path,label,site\na.png,cat,x\nb.png,dog,\n")
    return f"csv:{root / 'list.csv'}?colour=grey"


def parquet(root):
    save(root, [f"{number}.png" for number in range(4)], SHAPE)
    images = [(root / f"{number}.png").read_bytes() for number in range(4)]
    pl.DataFrame({"image": images, "label": [0, 1, 0, 1]}).write_parquet(root / "t.parquet")
    return f"parquet:{root / 't.parquet'}?classes=cat,dog"


def npz(root):
    images = np.random.default_rng(0).integers(0, 256, (5, *SHAPE), np.uint8)
    np.savez_compressed(root / "t.npz", images=images, labels=np.arange(5) % 2)
    return f"npz:{root / 't.npz'}"


def idx(root):
    images = np.random.default_rng(0).integers(0, 256, (4, 6, 8), np.uint8)
    head = bytes((0, 0, 8, 3)) + b"".join(n.to_bytes(4, "big") for n in images.shape)
    (root / "t10k-images-idx3-ubyte").write_bytes(head + images.tobytes())
    (root / "t10k-labels-idx1-ubyte").write_bytes(bytes((0, 0, 8, 1, 0, 0, 0, 4, 0, 1, 2, 1)))
    return f"idx:{root}?split=test&classes=a,b,c"


def cifar10(root):
    records = np.random.default_rng(0).integers(0, 10, (6, 3073), np.uint8)
    (root / "test_batch.bin").write_bytes(records.tobytes())
    return f"cifar10:{root}?split=test"


def tiny_imagenet(root):
    (root / "wnids.txt").write_text("n01\nn02\n")
    (root / "words.txt").write_text("n01\tcrane\nn02\tgoldfish\n")
    save(root / "val/images", ["val_0.JPEG", "val_1.JPEG"], (64, 64, 3))
    lines = "val_0.JPEG\tn01\t0\t10\t40\t63\nval_1.JPEG\tn02\t1\t10\t40\t63\n"
    (root / "val/val_annotations.txt").write_text(lines)
    return f"tiny-imagenet:{root}"


def webdataset(root):
    save(root, [f"{number}.png" for number in range(4)], SHAPE)
    with tarfile.open(root / "s-000.tar", "w") as archive:
        for number in range(4):
            archive.add(root / f"{number}.png", f"{number}.png")
            head = tarfile.TarInfo(f"{number}.cls")
            head.size = 1
            archive.addfile(head, io.BytesIO(str(number % 2).encode()))
    return f"webdataset:{root / 's-000.tar'}"


WRITTEN = {
    "cifar10": cifar10,
    "csv": csv,
    "digits": lambda _: "digits",
    "elpv": lambda _: "elpv",
    "fashion": lambda _: "fashion",
    "folder": folder,
    "idx": idx,
    "npz": npz,
    "parquet": parquet,
    "tiny-imagenet": tiny_imagenet,
    "webdataset": webdataset,
}
EXTRAS = {"dicom", "hf", "torchvision"}
"""Tried in `tests/extras`, where what they need is installed."""

MISSING = {"elpv"} - ({"elpv"} if find_spec("elpv_dataset") else set())


def in_memory():
    x, y = torch.rand(4, 1, 6, 8), torch.arange(4) % 2
    return {
        "tensors": from_tensors(x, y, classes=("a", "b"), groups=("p", "q", "p", "q")),
        "dataset": from_dataset(TensorDataset(x, y), classes=("a", "b")),
    }


def digest(values):
    return None if values is None else hashlib.sha256(values.numpy().tobytes()).hexdigest()


def everything(source):
    """All that a source gives of its first rows, as text and hashes."""
    rows = [
        (
            row.sample_id,
            row.label,
            row.group,
            row.split,
            row.meta,
            row.box,
            row.error,
            *map(digest, (row.image, row.mark)),
        )
        for row in source.read(range(min(8, len(source))))
    ]
    return source.address, source.classes, source.input_shape, len(source), rows


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    opened = {
        name: open_data(write(tmp_path_factory.mktemp(name))) for name, write in WRITTEN.items() if name not in MISSING
    }
    return opened | in_memory()


def test_every_kind_of_data_is_tried():
    assert set(WRITTEN) == set(TABLES["data"]) - EXTRAS


def test_a_source_gives_the_same_in_a_process_of_its_own(sources):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = dict(zip(sources, pool.map(everything, sources.values(), chunksize=1), strict=True))
    assert there == {name: everything(source) for name, source in sources.items()}


def test_what_travels_is_an_address(sources):
    assert len(pickle.dumps(sources["fashion"])) < 200
    assert len(pickle.dumps(sources["parquet"])) < 300


def test_a_source_that_lost_images_on_the_way_is_refused(tmp_path):
    source = open_data(folder(tmp_path))
    sent = pickle.dumps(source)
    (tmp_path / "cat" / "b.png").unlink()
    with pytest.raises(DataError, match="must hold the 4 images it had when it was opened first; it has 3 now"):
        pickle.loads(sent)
