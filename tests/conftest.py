"""What a test draws from torch's global stream hangs on the test alone, whatever ran before it in the same process.

Many nets of the tests are built by `nn.Linear(…)` and its like, which draw from that stream; with tests spread over
processes their weights would else depend on how many cores there are. Every test, fixture and file has a seed of its
own, so that code which secretly draws from the stream still differs between a fixture and a test.

No test waits for the disk: an audit flushes a hundred files, each for milliseconds in which nothing is computed, and
only a loss of power could tell. `test_records.py` tests that files are flushed, and programs that tests start do it.
"""

import os
import zlib

import pytest
import torch
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # an example that is slow on a busy machine is no fault
settings.load_profile("untimed")


def _unflushed(_file):
    """Stands in for `os.fsync`."""


os.fsync = _unflushed


def _seed(name: str) -> None:
    torch.random.default_generator.manual_seed(zlib.crc32(name.encode()))


@pytest.hookimpl(tryfirst=True)
def pytest_make_collect_report(collector):
    _seed(f"file {collector.nodeid}")


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef, request):
    _seed(f"fixture {fixturedef.argname} of {request.node.nodeid}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item):
    _seed(f"test {item.nodeid}")
