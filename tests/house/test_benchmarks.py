"""Benchmarks are run before releases only, so what they take from the house is looked up here."""

import ast
import importlib
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "benchmarks").rglob("*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_what_a_benchmark_imports_is_there(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "demur":
            module = importlib.import_module(node.module)
            gone = [name.name for name in node.names if not hasattr(module, name.name)]
            assert [name for name in gone if importlib.util.find_spec(f"{node.module}.{name}") is None] == []
