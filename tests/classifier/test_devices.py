"""Where a classifier computes, and in which precision there."""

import pytest
import torch

from demur.classifier.devices import on_device
from demur.errors import InputError


def test_a_gpu_answers_in_full_single_precision(monkeypatch):
    class Anywhere:
        def to(self, device):
            return device, torch.backends.cudnn.allow_tf32

    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert on_device(Anywhere(), "cpu") == ("cpu", True)
    assert on_device(Anywhere(), "cuda:1") == ("cuda:1", False)


@pytest.mark.parametrize("error", [RuntimeError, AssertionError, NotImplementedError])
def test_a_device_that_is_not_there_is_named(error):
    class Nowhere:
        def to(self, device):
            raise error(f"no {device}\nand much more")

    with pytest.raises(InputError, match=r"on device 'moon': no moon. Try --device cpu"):
        on_device(Nowhere(), "moon")
