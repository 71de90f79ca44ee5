"""The package of the how-to, installed as it stands there: listed, audited, recorded, reported, held to contracts."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.packages import install

from demur.analysis import analyse
from demur.files import read_json
from demur.records import read
from demur.registry import names
from demur.report import write

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "make-a-plug-in.md"
BLOCK = re.compile(r"^```(?:python|toml)\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SOURCE = Path(__file__).parents[2] / "src"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The files of the page, in a folder on the path, with what an installer makes of its `pyproject.toml`."""
    files = {match[1]: match[2] for match in BLOCK.finditer(PAGE.read_text())}
    project = tomllib.loads(files.pop("pyproject.toml"))["project"]
    folder = install(tmp_path / "site", project["name"], project["entry-points"], files, project["version"])
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "demur_haze", raising=False)
    yield folder
    sys.modules.pop("demur_haze", None)


def run(folder, *command):
    path = os.pathsep.join([str(folder), str(SOURCE)])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_package_of_the_page_is_audited(package, audited, tmp_path):
    use = ["clean", "brighten(eps=[0.1, 0.2])", "haze(severity=3)"]
    asked = {"conditions__use": use, "signals__use": ["msp", "span(scale=2.0)"], "policies__use": ["certified"]}
    results = audited(tmp_path / "run", **asked)
    named = [row.condition for row in results.conditions]
    assert named == ["clean", "brighten(eps=0.1)", "brighten(eps=0.2)", "haze(severity=3)"]
    assert read(tmp_path / "run", "brighten(eps=0.2)")["distance.linf"].max() <= 0.2 + 1e-6
    assert read(tmp_path / "run", "haze(severity=3)")["signal.span(scale=2.0)"].is_finite().all()
    facts = read_json(tmp_path / "run" / "run.json")
    assert facts["versions"]["demur-haze"] == "1.0"
    assert "White haze, 0.7 of the light comes through" in {each["sentence"] for each in facts["conditions"]}
    assert "haze" in write(tmp_path / "run").path.read_text()


@pytest.mark.slow
def test_a_run_is_read_where_the_package_is_gone(package, audited, tmp_path, monkeypatch):
    audited(tmp_path / "run", conditions__use=["clean", "haze(severity=3)"], signals__use=["span"])
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place != str(package)])
    assert "haze" not in names("corruption")
    assert [row.condition for row in analyse(tmp_path / "run").conditions] == ["clean", "haze(severity=3)"]


def test_the_package_is_listed_with_its_version(package):
    answer = run(package, sys.executable, "-m", "demur", "list", "signal")
    assert answer.stdout.splitlines()[1].split() == ["span", "comes", "with", "demur-haze", "1.0"]


@pytest.mark.slow
def test_the_tests_of_the_package_pass(package):
    answer = run(package, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_demur_haze.py")
    assert answer.returncode == 0, answer.stdout
    assert "3 passed" in answer.stdout
