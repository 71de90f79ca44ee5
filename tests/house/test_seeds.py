"""What tests draw from torch's global stream is theirs alone, whatever ran before them."""

import zlib

import pytest
import torch

AT_IMPORT = torch.rand(())


def first_of(name):
    return torch.rand((), generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))


@pytest.fixture
def drawn():
    return torch.rand(())


@pytest.mark.parametrize("before", [0, 3])
def test_files_fixtures_and_tests_draw_from_seeds_of_their_own(before, drawn, request):
    here = request.node.nodeid
    assert torch.rand(()) == first_of(f"test {here}")
    assert drawn == first_of(f"fixture drawn of {here}")
    assert first_of(f"file {request.node.parent.nodeid}") == AT_IMPORT
    torch.rand(before)  # moves the stream, which the next test must not feel
