"""`pip install demur` brings no torch: what reads runs works without it, and the rest says how to install it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

GOLDEN = max((Path(__file__).parents[1] / "golden").glob("run-v*"), key=lambda run: int(run.name.removeprefix("run-v")))
LINE = "pip install 'demur[torch]'"
WITHOUT = """
import sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"PIL", "captum", "jaxtyping", "safetensors", "sklearn", "torch"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Without())
"""
COMMAND = f"{WITHOUT}\nfrom demur.cli import main\nsys.argv = ['demur', *sys.argv[1:]]\nmain()"
PYTHON = f"""{WITHOUT}
from pathlib import Path

import demur
from demur.errors import MissingExtraError
from demur.metrics import auroc
from demur.registry import build

results = demur.analyse(Path(sys.argv[1]))
assert results.state == "issued"
assert auroc([0.1, 0.9], [False, True]) == 1
assert build("policy", "rule(confidence=0.7)") == demur.Rule(confidence=0.7)
for needs in (lambda: demur.Classifier, lambda: demur.open_data, lambda: build("signal", "energy")):
    try:
        needs()
    except MissingExtraError as error:
        print(error)
"""


def python(code: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_a_run_is_read_in_python_without_torch(tmp_path):
    answer = python(PYTHON, GOLDEN, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count(LINE) == 3
    assert answer.stdout.startswith("demur.Classifier needs an optional dependency.")


def test_a_run_is_reported_and_compared_without_torch(tmp_path):
    run = shutil.copytree(GOLDEN, tmp_path / "run")
    said = python(COMMAND, "report", run, cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert "Report:" in said.stdout
    assert (run / "report.html").stat().st_size > 100_000
    other = shutil.copytree(GOLDEN, tmp_path / "other")
    compared = python(COMMAND, "compare", run, other, cwd=tmp_path)
    assert compared.returncode == 0, compared.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["audit", "--help"], ["list"], ["list", "signal"]], ids=" ".join)
def test_help_and_lists_need_no_torch(arguments, tmp_path):
    answer = python(COMMAND, *arguments, cwd=tmp_path)
    assert (answer.returncode, answer.stderr) == (0, "")


def test_a_plan_is_printed_without_torch_and_says_what_it_lacks(tmp_path):
    answer = python(COMMAND, "plan", "--set", "data.limit=2000", cwd=tmp_path)
    assert answer.returncode == 0
    assert "limit = 2000" in answer.stdout
    assert LINE in answer.stderr
    (tmp_path / "plan.toml").write_text(answer.stdout)
    again = python(COMMAND, "plan", "--plan", "plan.toml", cwd=tmp_path)
    assert again.stdout == answer.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["audit"],
        ["train", "simple_cnn", "fashion"],
        ["attack", "fashion", "fashion", "--attack", "fgsm(eps=0.1)", "--out", "out"],
        ["explain", "fashion", "coat.png"],
        ["bench", "fashion"],
        ["matrix", "matrix.toml", "--out", "out"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_what_runs_a_model_prints_the_install_line(arguments, tmp_path):
    answer = python(COMMAND, *arguments, cwd=tmp_path)
    assert answer.returncode == 2
    assert answer.stderr == f"demur: `demur {arguments[0]}` needs an optional dependency. Install it with: {LINE}\n"
    assert not list(tmp_path.iterdir())
