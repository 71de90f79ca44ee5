"""Exact copies of an image are one observation: a guarantee counts each image once."""

import torch
from tests import tiny

from demur.data import build_index, from_tensors
from demur.files import read_json
from demur.pipeline.run.fitting import without_copies
from demur.policies import load_policy
from demur.records import read


def repeated(times):
    """900 images, of which 400 come so often."""
    images, labels = tiny.images_and_labels(rows=900)
    x, y = torch.cat([images, *[images[:400]] * (times - 1)]), torch.cat([labels, *[labels[:400]] * (times - 1)])
    return from_tensors(x, y, classes=tiny.CLASSES, name="copies")


def test_a_certificate_counts_each_image_once(tmp_path):
    source = repeated(times=4)
    run = tiny.run(tmp_path / "run", source, conditions=("clean",), policies=("certified(risk=0.1)",))
    found, index = load_policy(read_json(run / "facts" / "policies.json")[0]["policy"]).certificate, build_index(source)
    certify = {index.contents[row] for row in index.rows_of("certify")}
    assert len(index.rows_of("certify")) > 2 * len(certify)
    assert found.m == len(certify)
    assert found.coverage.n == len({index.contents[row] for row in index.rows_of("test")})


def test_of_copies_the_one_with_the_smallest_id_stays(tmp_path):
    source = repeated(times=3)
    run, index = tiny.run(tmp_path / "run", source, conditions=("clean",)), build_index(source)
    kept = without_copies(index, read(run, "clean"))["sample_id"].to_list()
    first = {}
    for name, content in sorted(zip(index.sample_ids, index.contents, strict=True)):
        first.setdefault(content, name)
    assert set(kept) == set(first.values())
    assert len(kept) == 900


def test_images_that_are_all_different_all_stay(tmp_path):
    source = tiny.source(rows=700)
    run = tiny.run(tmp_path / "run", source, conditions=("clean",))
    clean = read(run, "clean")
    assert without_copies(build_index(source), clean) is clean
