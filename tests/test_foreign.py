"""Whose an error is: by its traceback, whatever was raised."""

import textwrap

import pytest
import torch
from torch import nn

from demur.adapters import load_model
from demur.errors import AddressError, DataError, ForeignError, ModelError
from demur.foreign import blamed, foreign_error, is_foreign, is_of_the_model, is_out_of_memory, reason
from tests import tiny


class Odd(BaseException):
    """Of no kind that anybody expects."""


ENDS = [
    SystemExit(0),
    SystemExit("no"),
    GeneratorExit(),
    Odd("odd"),
    ValueError("no\nmore"),
    MemoryError(),
    StopIteration(),
]


def caught(work):
    try:
        work()
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is looked at
        return error
    raise AssertionError("nothing was raised")


def failing(error):
    raise error


@pytest.mark.parametrize("error", ENDS, ids=repr)
def test_whatever_code_of_others_raises_is_an_error_that_names_the_line(error):
    with pytest.raises(ForeignError) as found, blamed():
        failing(error)
    assert found.value.__cause__ is error
    words = str(found.value)
    assert type(error).__name__ in words
    assert "test_foreign.py:" in words
    assert "in failing" in words
    assert ("ends the process" in words) == isinstance(error, SystemExit)
    assert "\n" not in words


@pytest.mark.parametrize("error", [KeyboardInterrupt(), DataError("as it is"), ModelError("as it is")], ids=repr)
def test_interruptions_and_errors_of_demur_s_own_go_on(error):
    with pytest.raises(type(error)) as found, blamed():
        failing(error)
    assert found.value is error


def test_an_error_inside_a_library_is_of_whoever_called_it():
    assert is_foreign(caught(lambda: torch.ones(2) @ torch.ones(3)))


def test_a_net_of_a_library_s_layers_is_not_demur_s():
    classifier = tiny.classifier()
    assert is_foreign(caught(lambda: classifier.logits(torch.rand(2, 3, 8, 8))))


@pytest.mark.parametrize("room", ["demur.analysis.tables", "demur.classifier.hooks"])
def test_an_error_of_demur_s_own_is_no_foreign_one(room):
    space = {"__name__": room}
    exec("def work():\n    raise ValueError('own')", space)
    assert not is_foreign(caught(space["work"]))
    with pytest.raises(ValueError, match="own"), blamed():
        space["work"]()


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: not enough memory: you tried …"), True),
        (MemoryError(), True),
        (RuntimeError("shapes do not fit"), False),
        (ValueError("out of memory"), False),
    ],
    ids=repr,
)
def test_a_lack_of_memory_is_told_from_other_errors(error, short):
    assert is_out_of_memory(error) is short


def test_what_fewer_rows_may_cure():
    assert is_of_the_model(caught(lambda: failing(SystemExit(0))))
    assert is_of_the_model(MemoryError())
    assert is_of_the_model(ModelError("NaN"))
    assert not is_of_the_model(caught(lambda: failing(KeyboardInterrupt())))
    assert not is_of_the_model(DataError("gone"))
    assert not is_of_the_model(RuntimeError("of nobody"))


def test_a_reason_is_one_line():
    assert reason(caught(lambda: failing(ValueError("first.\nsecond")))).startswith("ValueError: first (")
    assert reason(ModelError("a whole sentence.")) == "a whole sentence"
    assert len(reason(caught(lambda: failing(ValueError("x" * 9999))))) < 400
    assert foreign_error(caught(lambda: failing(GeneratorExit()))).args[0].count("GeneratorExit") == 1


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A function that writes a Python module and loads the classifier of its `net`."""
    monkeypatch.chdir(tmp_path)

    def load(name, body):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(body))
        return load_model(f"module:{name}:net", classes=tiny.CLASSES, input_shape=tiny.SHAPE)

    return load


@pytest.mark.parametrize(
    ("name", "body", "kind", "words"),
    [
        ("leaves", "import sys\nsys.exit(0)", ModelError, "SystemExit: 0 (leaves.py:2, in <module>)"),
        ("ends", "import os\nos._exit(0)", ModelError, "os._exit(0) (ends.py:2"),
        ("turns", "import os\ndef net():\n    os.execv('/bin/true', ['true'])", ModelError, "os.execv("),
        ("lacks", "import nothing_like_it", AddressError, "nothing_like_it"),
        ("wrong", "def net(:", ModelError, "SyntaxError"),
        ("yields", "def net():\n    raise GeneratorExit", ModelError, "GeneratorExit (yields.py:2, in net)"),
        ("asks", "def net():\n    raise EOFError", ModelError, "EOFError"),
    ],
)
def test_a_module_that_ends_or_raises_is_named(module, name, body, kind, words):
    with pytest.raises(kind) as found:
        module(name, body)
    assert words in str(found.value)


def test_an_interruption_at_import_is_the_user_s(module):
    with pytest.raises(KeyboardInterrupt):
        module("stops", "raise KeyboardInterrupt")


def test_eval_may_return_nothing(module):
    body = """
        from tests.tiny import Net
        class Own(Net):
            def eval(self):
                Net.eval(self)
        net = Own
    """
    assert isinstance(module("shy", body).as_module(), nn.Module)
