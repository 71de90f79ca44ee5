import hashlib

import pytest
import torch
from safetensors.torch import save_file

from demur.adapters.weights import KEY, manifest_of, manifest_text, training_hashes
from demur.errors import ModelError

HASHES = frozenset(hashlib.sha256(bytes([k])).hexdigest() for k in range(5))


def weights(folder, pinned=None):
    path = folder / "model.safetensors"
    save_file({"w": torch.zeros(1)}, path, metadata=None if pinned is None else {KEY: pinned})
    return path


def test_what_is_written_is_read(tmp_path):
    path = weights(tmp_path, hashlib.sha256(manifest_text(HASHES)).hexdigest())
    manifest_of(path).write_bytes(manifest_text(HASHES))
    assert training_hashes(path) == training_hashes(str(path)) == HASHES


def test_a_manifest_that_nothing_pins_is_believed(tmp_path):
    path = weights(tmp_path)
    manifest_of(path).write_bytes(manifest_text(HASHES))
    assert training_hashes(path) == HASHES


def test_no_manifest_is_nothing_known(tmp_path):
    assert training_hashes(weights(tmp_path)) is None


def test_a_missing_manifest_is_noticed(tmp_path):
    with pytest.raises(ModelError, match=r"model\.manifest, and that file is missing"):
        training_hashes(weights(tmp_path, "0" * 64))


def test_a_shortened_manifest_is_noticed(tmp_path):
    path = weights(tmp_path, hashlib.sha256(manifest_text(HASHES)).hexdigest())
    manifest_of(path).write_bytes(manifest_text(HASHES)[65:])
    with pytest.raises(ModelError, match="its hash differs"):
        training_hashes(path)
