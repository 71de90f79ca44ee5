"""Importing is free where it should be, and the floors of the house hold."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIGHT = ["demur", "demur.registry", "demur.cli", "demur.files", "demur.records", "demur.metrics", "demur.policies",
         "demur.alarms", "demur.analysis", "demur.report", "demur.pipeline.plan.plan_file"]  # fmt: skip
HEAVY = {"torch", "captum", "sklearn", "altair", "vl_convert", "jinja2"}

FORBIDDEN = """
[importlinter]
root_package = demur
[importlinter:contract:1]
name = The command line knows no errors
type = forbidden
source_modules = demur.cli
forbidden_modules = demur.errors
"""


def brought_by(module: str) -> set[str]:
    """The top-level packages that an import loads."""
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def lint(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("module", LIGHT)
def test_an_import_is_free(module):
    assert not brought_by(module) & HEAVY


def test_an_import_that_is_not_free_is_noticed():
    assert "torch" in brought_by("demur.classifier")


def test_the_floors_of_the_house_hold():
    answer = lint()
    assert answer.returncode == 0, answer.stdout


def test_a_broken_floor_is_noticed(tmp_path):
    (tmp_path / "contract.ini").write_text(FORBIDDEN)
    assert lint("--config", str(tmp_path / "contract.ini")).returncode == 1
