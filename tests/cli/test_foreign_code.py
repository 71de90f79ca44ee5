"""A user's module can end no command well, and what it sets is undone: status 2, or an audit as usual."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.cli.conftest import QUICK, refused

from demur.cli import run_commands

FORWARD = "return type('Own', (Net,), {'forward': lambda self, x: (%s, Net.forward(self, x))[1]})()"

ENDS = {
    "at import": ("return Net()", "import sys; sys.exit(0)"),
    "at import, past Python": ("return Net()", "import os; os._exit(0)"),
    "in the factory": ("import sys; sys.exit(1)", ""),
    "by another program": ("import os; os.execv('/bin/true', ['true'])", ""),
    "by typer": ("import typer; raise typer.Exit(0)", ""),
    "by an end of input": ("raise EOFError", ""),
    "by a generator's end": ("raise GeneratorExit", ""),
    "in forward": (FORWARD % "(_ for _ in ()).throw(SystemExit(0))", ""),
    "in forward, past Python": (FORWARD % "__import__('os')._exit(0)", ""),
    "in eval": ("return type('Own', (Net,), {'eval': lambda self: __import__('sys').exit(0)})()", ""),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_module_that_ends_the_process_is_status_2(how, demur, factory, data):
    body, imports = ENDS[how]
    said = demur("audit", factory(body, imports), data, *QUICK, "--out", "run")
    refused(said, "net_", ".py:")
    assert not Path("run/results.json").exists()


SETS = {
    "prints": ("print('made'); return Net()", "print('imported')"),
    "prints in forward": (FORWARD % "print('asked')", ""),
    "changes directory": ("import os; os.chdir('/'); return Net()", "import os; os.chdir('/')"),
    "sets defaults": (
        "return Net()",
        "torch.set_default_dtype(torch.float64); torch.set_default_device('meta'); torch.set_grad_enabled(False)",
    ),
    "sets defaults in forward": (FORWARD % "torch.set_default_dtype(torch.float64)", ""),
    "forks": ("import os; os.fork(); return Net()", "import os; os.fork()"),
    "silences": ("return Net()", "import logging, warnings, sys; logging.disable(50); sys.stdout = sys.stderr = None"),
}


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return {}


def records(run):
    return {path.name: path.read_bytes() for path in (run / "records").glob("*.parquet")}


@pytest.mark.parametrize("how", ["nothing", *SETS])
def test_what_a_module_sets_is_undone_and_it_is_audited_as_usual(how, demur, factory, data, tmp_path, expected):
    body, imports = SETS.get(how, ("return Net()", ""))
    before = torch.get_default_dtype(), os.environ.copy(), list(sys.path)
    said = demur("audit", factory(body, imports), data, *QUICK, "--out", "run", "--json")
    assert json.loads(said.out)["accuracy"]["n"] == 400
    assert "Traceback" not in said.err
    expected.setdefault("records", records(tmp_path / "run"))
    assert records(tmp_path / "run") == expected["records"]
    assert (torch.get_default_dtype(), os.environ.copy(), list(sys.path)) == before
    assert ("made" in said.err) == (how == "prints")
    assert ("asked" in said.err) == (how == "prints in forward")


def test_an_unexpected_fault_is_status_70_and_a_paragraph(demur, monkeypatch):
    def broken(*_):
        raise LookupError("nobody saw it coming")

    broken.__globals__["__name__"], own = "demur.cli.broken", broken.__globals__["__name__"]
    monkeypatch.setattr(run_commands, "plug_ins", broken)
    try:
        said = demur("list")
    finally:
        broken.__globals__["__name__"] = own
    assert said.status == 70
    assert "an unexpected fault: LookupError: nobody saw it coming." in said.err
    assert "Traceback" not in said.err
    kept = Path(said.err.partition("traceback is in ")[2].partition(".txt")[0] + ".txt")
    assert "LookupError" in kept.read_text()
    kept.unlink()


@pytest.mark.parametrize("command", ["audit", "attack", "explain", "train"])
def test_the_folder_is_tried_before_anything_is_read(command, demur, good, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    words = {
        "audit": (good, "npz:none.npz", "--out", "file/run"),
        "attack": (good, "npz:none.npz", "--attack", "fgsm(eps=0.1)", "--out", "file/run"),
        "explain": (good, "none.png", "--out", "file/run"),
        "train": ("resnet20", "npz:none.npz", "--out", "file/run"),
    }
    refused(demur(command, *words[command]), "cannot write the folder file/run", "--out")


def test_a_folder_that_was_only_tried_is_gone(demur, good, tmp_path):
    refused(demur("audit", good, "npz:none.npz", "--out", "new/run"), "none.npz")
    assert not (tmp_path / "new").exists()


def test_a_request_to_terminate_is_an_interruption(demur, factory, data):
    body = "import os, signal; os.kill(os.getpid(), signal.SIGTERM); return Net()"
    before = signal.getsignal(signal.SIGTERM)
    said = demur("audit", factory(body), data, *QUICK, "--out", "run")
    assert said.status == 130
    assert "the same command continues" in said.err
    assert signal.getsignal(signal.SIGTERM) is before


PROGRAM = """
import atexit, os
from tests.tiny import Net
atexit.register(lambda: os._exit(0))
atexit.register(print, "later")
def net():
    os.system("echo shell")
    os.write(1, b"raw")
    return Net()
"""


def test_a_whole_program_keeps_its_status_and_its_stdout(data, tmp_path):
    (tmp_path / "own.py").write_text(PROGRAM)
    found = subprocess.run(
        [sys.executable, "-m", "demur", "audit", "module:own:net", data, *FAILS, *QUICK, "--out", "run", "--json"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 1, found.stderr
    assert json.loads(found.stdout)["gates"][0]["outcome"] == "fail"
    assert "Traceback" not in found.stderr
    assert {"shell", "later"} <= set(found.stderr.replace("raw", "").splitlines())


FAILS = ("--set", 'gates."clean.accuracy"=">= 1.0"')
