"""Golden vectors: a machine that decides otherwise is told, one that decides alike but for rounding is not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests import guarded, tiny

from demur.data.decoding import open_picture
from demur.errors import InputError
from demur.files import read_json, write_json
from demur.guard import Guard
from demur.guard.golden_vectors import FILE, as_file, read_pictures, selftest
from demur.pictures.decode_rules import Rules
from demur.policies import Threshold


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("golden") / "guard"
    guarded.written(folder)
    return folder


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_of_bytes_is_a_picture_that_reads_the_same(channels):
    image = torch.randint(0, 256, (channels, 9, 7), generator=torch.Generator().manual_seed(1)) / 255
    suffix, content = as_file(image)
    assert suffix == ".png"
    assert torch.equal(open_picture(content, channels, Rules())[0], image)


@pytest.mark.parametrize("image", [torch.full((1, 4, 4), 0.123), torch.zeros(2, 4, 4)])
def test_any_other_image_is_an_array(image):
    suffix, content = as_file(image)
    assert suffix == ".npy"
    import io

    assert np.array_equal(np.load(io.BytesIO(content), allow_pickle=False), image.numpy())


def test_the_machine_that_wrote_them_decides_alike(folder):
    found = selftest(folder, Guard.load(folder))
    assert found.passed
    assert (found.images, found.near) == (10, 0)
    files, sites = read_pictures(folder)
    assert [suffix for suffix, _ in files] == [".png"] * 8 + [".npy"] * 2
    assert sites == [None] * 10


def test_another_model_is_told(folder):
    found = selftest(folder, replace(Guard.load(folder), classifier=tiny.classifier(sharpness=4.0)))
    assert not found.passed
    assert "golden/00.png: a score moved by" in found.differences[0]


def test_another_threshold_is_told(folder):
    guard = Guard.load(folder)
    strict = replace(guard, policy=Threshold(signal="msp", uncertainty=1e-6))
    assert any("low_confidence here" in sentence for sentence in selftest(folder, strict).differences)


def test_another_label_is_told(folder, tmp_path):
    entries = read_json(folder / FILE)
    names = {entry["label"] for entry in entries}
    changed = {**entries[0], "label": next(name for name in tiny.CLASSES if name != entries[0]["label"])}
    assert len(names) > 1
    write_json(tmp_path / FILE, [changed])
    (tmp_path / entries[0]["file"]).write_bytes((folder / entries[0]["file"]).read_bytes())
    assert "when it was written" in selftest(tmp_path, Guard.load(folder)).differences[0]


def test_rounding_at_the_bound_is_counted_and_no_difference(folder):
    guard = Guard.load(folder)
    scores = sorted(entry["scores"]["msp"] for entry in read_json(folder / FILE))
    edge = next(score for score in scores if 1e-3 < score <= guard.policy.certificate.threshold)
    found = selftest(folder, replace(guard, policy=Threshold(signal="msp", uncertainty=edge - 1e-6)))
    assert found.near >= 1
    assert not any("low_confidence here" in each for each in found.differences if f"{edge}" in each)


def test_a_guard_without_them_says_so(folder, tmp_path):
    with pytest.raises(InputError, match="has no golden vectors"):
        selftest(tmp_path, Guard.load(folder))
