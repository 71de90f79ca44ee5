"""A shard passes few files on its way from images to rows."""

import importlib.util
from pathlib import Path

import pytest

from demur.pipeline.job import shards
from demur.pipeline.run.run_writer import RunWriter

TOOL = Path(__file__).parents[2] / "tools" / "hops.py"
AT_MOST = {"clean": 15, "pgd": 23}
"""Records and the files below them are two since a guard writes files without tables; decoded images are one more.
So are which rows are drawn, the one place where files of folders that lie elsewhere are asked for, and the sequences
in which ids and hashes of millions of rows take half the memory."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Family of each condition → files passed."""
    spec = importlib.util.spec_from_file_location("hops", TOOL)
    hops = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hops)
    job, folder = hops.small_job(), RunWriter(tmp_path_factory.mktemp("hops"))
    return {shard.condition.family: {file for file, _ in hops.of_a_shard(job, shard, folder)} for shard in shards(job)}


@pytest.mark.parametrize("family", AT_MOST)
def test_a_shard_passes_few_files(files, family):
    assert len(files[family]) <= AT_MOST[family], sorted(files[family])


@pytest.mark.parametrize("family", ["clean", "gaussian_noise"])
def test_images_without_a_map_never_enter_attribution_code(files, family):
    assert not [file for file in files[family] if "attribution" in file]
