"""Shards that the library of WebDataset wrote hold the images, labels and keys that it wrote."""

import gc

import numpy as np
import pytest
import torch

from demur.data import from_dataset, open_data
from demur.testing import check_data

webdataset = pytest.importorskip("webdataset")

PIXELS = np.random.default_rng(0).integers(0, 256, (10, 6, 7, 3), dtype=np.uint8)


@pytest.fixture
def shards(tmp_path):
    with webdataset.ShardWriter(f"{tmp_path}/s-%03d.tar", maxcount=4, verbose=0) as writer:
        for at, pixels in enumerate(PIXELS):
            writer.write({
                "__key__": f"k{at:04d}", "png": pixels, "cls": at % 2, "json": {"site": "north" if at < 5 else "south"},
                "npy": np.zeros(3), "pyd": {"never": "opened"},
            })  # fmt: skip
    return tmp_path


def test_what_the_library_wrote_is_read(shards):
    source = open_data(f"webdataset:{shards}/s-{{000..002}}.tar?group=site")
    check_data(source)
    rows = list(source.read(range(10)))
    images = torch.from_numpy(PIXELS).permute(0, 3, 1, 2).float() / 255
    assert torch.equal(torch.stack([row.image for row in rows]), images)
    assert [row.label for row in rows] == [at % 2 for at in range(10)]
    assert [row.sample_id for row in rows] == [f"k{at:04d}" for at in range(10)]
    assert [row.group for row in rows] == ["north"] * 5 + ["south"] * 5


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_its_own_pipeline_gives_the_same_images(shards):
    stream = webdataset.WebDataset(f"{shards}/s-{{000..002}}.tar", shardshuffle=False)
    source = from_dataset(stream.decode("pil").to_tuple("png", "cls"))
    ours = open_data(f"webdataset:{shards}/s-{{000..002}}.tar")
    for one, other in zip(source.read(range(10)), ours.read(range(10)), strict=True):
        assert torch.equal(one.image, other.image)
        assert one.label == other.label
    del stream, source
    gc.collect()  # it leaves its files open
