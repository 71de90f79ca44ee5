"""Small files, small functions, nothing left for later."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

import demur

ROOM = Path(demur.__file__).parent
FILES = sorted(ROOM.rglob("*.py"))
LINES = 350
BODY = 35


def complaints(text: str, *, prints: bool = False) -> list[str]:
    """What the house does not want in a file."""
    tree = ast.parse(text)
    found = [f"{len(text.splitlines())} lines"] if len(text.splitlines()) > LINES else []
    found += re.findall(r"\b(?:TODO|FIXME|XXX|HACK)\b", text)
    modules = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and _is_module(node)]
    allowed = {call for node in modules for call in ast.walk(node) if _calls(call, "super")}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and _body(node) > BODY:
            found.append(f"{node.name} has {_body(node)} lines")
        if (_calls(node, "print") and not prints) or (_calls(node, "super") and node not in allowed):
            found.append(f"{node.func.id}() in line {node.lineno}")
    return found


def _calls(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def _is_module(node: ast.ClassDef) -> bool:
    return any(ast.unparse(base) == "nn.Module" for base in node.bases)


def _body(node: ast.FunctionDef) -> int:
    """Lines from `def` to the end, the docstring not counted: it explains every argument."""
    docstring = node.body[0].end_lineno - node.body[0].lineno + 1 if ast.get_docstring(node) else 0
    return node.end_lineno - node.lineno + 1 - docstring


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOM)))
def test_a_file_is_small_and_finished(path):
    assert not complaints(path.read_text(), prints="cli" in path.relative_to(ROOM).parts)


def test_a_file_name_stands_once():
    names = Counter(path.name for path in FILES if path.name != "__init__.py")
    assert [name for name, times in names.items() if times > 1] == []


def test_the_median_file_is_short():
    counts = sorted(len(path.read_text().splitlines()) for path in FILES)
    assert counts[len(counts) // 2] <= 150


@pytest.mark.parametrize(
    "text",
    [
        "x = 1\n" * 351,
        "def long():\n" + "    x = 1\n" * 35,
        "# TODO later",
        "print(1)",
        "class Child(Parent):\n    def __init__(self):\n        super().__init__()",
    ],
)
def test_each_complaint_can_be_made(text):
    assert len(complaints(text)) == 1
