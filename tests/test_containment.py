"""What code of others sets for the whole process is set back, and it ends no process of demur's."""

import gc
import logging
import os
import posix
import random
import signal
import sys
import warnings

import numpy as np
import pytest
import torch

from demur.containment import Changes, contained, contained_tensors, same_draws
from tests import tiny

TENSORS = {
    "dtype": (torch.get_default_dtype, lambda: torch.set_default_dtype(torch.float64)),
    "device": (torch.get_default_device, lambda: torch.set_default_device("meta")),
    "gradients": (torch.is_grad_enabled, lambda: torch.set_grad_enabled(False)),
    "threads": (torch.get_num_threads, lambda: torch.set_num_threads(torch.get_num_threads() + 1)),
    "deterministic": (torch.are_deterministic_algorithms_enabled, lambda: torch.use_deterministic_algorithms(True)),
    "matmul": (torch.get_float32_matmul_precision, lambda: torch.set_float32_matmul_precision("medium")),
    "autocast": (lambda: torch.is_autocast_enabled("cpu"), lambda: torch.set_autocast_enabled("cpu", True)),
    "cudnn": (lambda: torch.backends.cudnn.benchmark, lambda: setattr(torch.backends.cudnn, "benchmark", True)),
}

PROCESS = {
    "folder": (os.getcwd, lambda: os.chdir("/")),
    "environment": (lambda: dict(os.environ), lambda: os.environ.update(PATH="", NEW="1")),
    "a variable that is gone": (lambda: dict(os.environ), lambda: os.environ.pop("PATH")),
    "path": (lambda: list(sys.path), lambda: sys.path.insert(0, "elsewhere")),
    "words": (lambda: list(sys.argv), lambda: sys.argv.append("more")),
    "warnings": (lambda: list(warnings.filters), lambda: warnings.simplefilter("always")),
    "logging": (
        lambda: (logging.root.level, list(logging.root.handlers), logging.root.manager.disable),
        lambda: (logging.basicConfig(level=1, force=True), logging.disable(50)),
    ),
    "interruption": (lambda: signal.getsignal(signal.SIGINT), lambda: signal.signal(signal.SIGINT, lambda *_: None)),
    "alarm": (lambda: signal.getitimer(signal.ITIMER_REAL)[0] > 0, lambda: signal.alarm(1000)),
    "recursion": (sys.getrecursionlimit, lambda: sys.setrecursionlimit(5000)),
    "collection": (gc.isenabled, gc.disable),
    "rights": (lambda: [mask := os.umask(0), os.umask(mask)][0], lambda: os.umask(0o123)),
    "stream": (lambda: sys.stdout, lambda: setattr(sys, "stdout", sys.stderr)),
    "hook": (lambda: sys.excepthook, lambda: setattr(sys, "excepthook", print)),
}


@pytest.mark.parametrize("name", TENSORS | PROCESS)
def test_a_setting_is_set_back(name):
    read, change = (TENSORS | PROCESS)[name]
    before = read()
    with contained():
        change()
        assert read() != before
    assert read() == before
    with pytest.raises(ZeroDivisionError), contained():
        change(), 1 / 0
    assert read() == before


@pytest.mark.parametrize("name", TENSORS)
def test_what_is_set_for_tensors_alone_is_set_back(name):
    read, change = TENSORS[name]
    before = read()
    with contained_tensors():
        change()
    assert read() == before


@pytest.mark.parametrize("way", [(os, "_exit"), (posix, "_exit"), (os, "execv"), (os, "execve")], ids=repr)
def test_nothing_inside_ends_or_replaces_the_process(way):
    module, name = way
    before = getattr(module, name)
    with pytest.raises(SystemExit, match=name), contained(), contained():
        getattr(module, name)("/bin/true", ["true"], {})
    assert getattr(module, name) is before


def test_a_child_that_returns_ends_there(tmp_path):
    witness = tmp_path / "witness"
    with contained():
        child = os.fork()
    with witness.open("a") as file:
        file.write(f"{child}\n")
    assert os.waitpid(child, 0)[1] == 0
    assert witness.read_text() == f"{child}\n"


def test_a_child_may_end_as_it_likes():
    with contained():
        child = os.fork()
        if not child:
            os._exit(7)
        status = os.waitpid(child, 0)[1]
    assert os.waitstatus_to_exitcode(status) == 7


def test_random_numbers_go_on_as_if_none_had_been_drawn():
    with same_draws():
        before = random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002 - the global streams are meant
    assert (random.random(), np.random.rand(), torch.rand(1)) == before  # noqa: NPY002


class Restless(tiny.Net):
    """Sets what holds for all tensors, and forks, whenever it is asked."""

    def forward(self, x):
        torch.set_default_dtype(torch.float64)
        os.fork()
        return super().forward(x)


def test_a_forward_that_sets_something_is_contained_at_every_call():
    images = torch.rand(3, *tiny.SHAPE)
    classifier = tiny.BoundClassifier(Restless().eval(), classes=tiny.CLASSES, input_shape=tiny.SHAPE)
    assert torch.equal(classifier.logits(images), tiny.classifier().logits(images))
    assert torch.get_default_dtype() == torch.float32


def test_a_forward_that_sets_nothing_is_called_as_it_is():
    def function(x):
        return x

    with Changes() as changes:
        function(1)
    assert changes.contained(function) is function
    with Changes() as changes:
        os.environ["NEW"] = "1"
    assert changes.contained(function) is not function
    assert "NEW" not in os.environ
