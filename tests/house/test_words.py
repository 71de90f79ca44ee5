"""Names and pages speak the field's terms: a name is the noun of what it holds, and no page has to be guessed."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import demur

ROOM = Path(demur.__file__).parent
REPOSITORY = Path(__file__).parents[2]

NO_NAMES = {
    "asked", "beside", "both", "declined", "doubt", "doubted", "followed", "given", "held", "honest", "knock",
    "known", "lapses", "looked", "looks", "nobody", "noted", "opened", "passed_on", "promise", "promised",
    "role", "said", "searched", "seen", "shown", "slipped", "told", "troubled", "whom", "worded",
}  # fmt: skip
NO_WORDS = (
    r"\bdoubt", r"\bpromis", r"\bdeclin(?:e|es|ed|ing)\b", r"\bpass(?:es|ed)? on\b", r"\bon paper\b", r"\bwhom\b",
    r"\bwhat (?:it|this|that|they) (?:all )?(?:comes?|came) to\b", r"\bknows? nothing\b", r"\bsystem 00\d",
    r"\bsmallest changes?\b", r"\bat the door\b", r"\blapses?\b", r"\bhiding\b",
)  # fmt: skip
PAGES = sorted(
    path
    for pattern in ("README.md", "CONTRIBUTING.md", "docs/*.md", "docs/how-to/*.md", "docs/reference/*.md")
    for path in REPOSITORY.glob(pattern)
)
TEMPLATES = sorted((ROOM / "report" / "templates").rglob("*.html"))
SERVED = sorted(path for suffix in ("html", "js") for path in (ROOM / "serve" / "page").glob(f"*.{suffix}"))
READING = sorted(path for room in ("analysis", "report", "cli") for path in (ROOM / room).rglob("*.py"))


def names(text: str) -> Iterator[str]:
    """The functions, classes and fields that a file defines."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        if isinstance(node, ast.ClassDef):
            yield from (field.target.id for field in node.body if isinstance(field, ast.AnnAssign))


def odd_names(text: str) -> list[str]:
    return sorted({name for name in names(text) if name.strip("_").lower() in NO_NAMES})


def odd_words(text: str) -> list[str]:
    return [found[0] for word in NO_WORDS for found in re.finditer(word, text, re.IGNORECASE)]


@pytest.mark.parametrize("path", sorted(ROOM.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOM)))
def test_names_are_nouns(path):
    assert odd_names(path.read_text()) == []
    assert path.stem not in NO_NAMES


@pytest.mark.parametrize(
    "path", [*PAGES, *TEMPLATES, *SERVED, *READING], ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_pages_speak_the_terms_of_the_field(path):
    text = path.read_text()
    language = "Promise" if path.suffix == ".js" else ""
    assert odd_words(text.replace(language, "") if language else text) == []


@pytest.mark.parametrize("text", ["def _seen(): ...", "class Shown: ...", "class Row:\n    beside: int"])
def test_a_name_that_is_no_noun_is_noticed(text):
    assert len(odd_names(text)) == 1


@pytest.mark.parametrize(
    "text", ["images it declines", "signals of doubt", "passed on to a person", "System 002's table", "Whom it fails"]
)
def test_a_word_that_has_to_be_guessed_is_noticed(text):
    assert len(odd_words(text)) == 1
