"""Everything the documentation shows runs: Python blocks, docstring examples and command lines."""

import doctest
import importlib
import re
import shlex
from pathlib import Path

import pytest
import typer

from demur.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SOURCE = ROOT / "src"
SHOWING = [path.relative_to(SOURCE) for path in sorted(SOURCE.rglob("*.py")) if ">>> " in path.read_text()]


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """Line number and text of each fenced block of a language."""
    text = page.read_text()
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text[: match.start(1)].count("\n"), match.group(1)) for match in found]


def commands(page: Path) -> list[list[str]]:
    """The arguments of each `$ demur …` line."""
    lines = [line for _, text in blocks(page, "console") for line in text.replace("\\\n", " ").splitlines()]
    return [shlex.split(line)[2:] for line in lines if line.startswith("$ demur")]


def parsed(arguments: list[str]) -> None:
    """Read the arguments as the command line would, without running anything."""
    command, rest = typer.main.get_command(app), arguments
    while rest[0] not in {"--help", "--version"}:
        name, *rest = rest
        command = command.commands[name]
        if not isinstance(command, typer.core.TyperGroup):
            command.make_context(name, rest)
            return


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.stem)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("webbrowser.open", lambda url: Path(url.removeprefix("file://")).exists())
    namespace = {"__name__": page.stem}
    for line, text in blocks(page, "python"):
        exec(compile("\n" * line + text, str(page), "exec", dont_inherit=True), namespace)


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.stem)
def test_the_commands_of_a_page_exist(page):
    for arguments in commands(page):
        parsed(arguments)


@pytest.mark.parametrize("arguments", [["audit", "--colour"], ["paint"], ["guard", "paint"]])
def test_a_command_that_does_not_exist_is_noticed(arguments):
    with pytest.raises(Exception, match=r"colour|paint"):
        parsed(arguments)


@pytest.mark.parametrize("path", SHOWING, ids=str)
def test_the_examples_in_docstrings_are_true(path):
    module = importlib.import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", prose):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
