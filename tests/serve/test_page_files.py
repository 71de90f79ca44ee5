"""What the page is made of: no code in its markup, no address but its own server's, headers that hold it to that."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from fastapi import FastAPI
from starlette.testclient import TestClient

import demur.report
from demur.serve.page_files import FOLDER, page_files, page_routes

REPORT = Path(demur.report.__file__).parent / "templates" / "style.css"
SCRIPTS = sorted(FOLDER.glob("*.js"))


@pytest.fixture(scope="module")
def client():
    app = FastAPI()
    app.include_router(page_routes())
    return TestClient(app)


class Tags(HTMLParser):
    """Every tag with its attributes, and whatever stands inside scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.found, self.inside, self.open = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.open = tag

    def handle_data(self, data):
        if self.open in {"script", "style"} and data.strip():
            self.inside.append(data)

    def handle_endtag(self, tag):
        self.open = ""


@pytest.fixture(scope="module")
def tags():
    return Tags((FOLDER / "index.html").read_text("utf-8"))


def test_every_file_is_served_with_a_policy_that_allows_its_own_server_alone(client):
    for path in ("/", *(f"/page/{each.name}" for each in page_files() if each.name != "index.html")):
        answer = client.get(path)
        rules = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
        assert rules["default-src"] == "'none'"
        assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
        assert {rules[each] for each in ("form-action", "base-uri", "frame-ancestors")} == {"'none'"}
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/page/index.html", "/page/nothing.js", "/page/../page_files.py", "/page/"])
def test_nothing_else_is_served(client, path):
    assert client.get(path).status_code == 404


def test_who_has_a_file_is_told_so_and_a_head_has_no_body(client):
    first = client.get("/page/page.css")
    assert (
        client.get("/page/page.css", headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'}).status_code
        == 304
    )
    assert client.get("/page/page.css", headers={"If-None-Match": '"other"'}).status_code == 200
    assert len({each.tag for each in page_files()}) == len(page_files())
    head = client.head("/")
    assert (head.status_code, head.content) == (200, b"")


def test_the_markup_holds_no_code_and_no_style(tags):
    assert tags.inside == []
    assert [name for _, attrs in tags.found for name in attrs if name.startswith("on") or name == "style"] == []


def test_its_files_are_there_and_nothing_else_is_fetched(tags, client):
    addresses = [attrs[name] for _, attrs in tags.found for name in ("src", "href") if name in attrs]
    own = [each for each in addresses if not each.startswith("#")]
    assert len(own) >= 4
    assert all(client.get(f"/{each}").status_code == 200 for each in own)
    ids = {attrs["id"] for _, attrs in tags.found if "id" in attrs}
    assert {each[1:] for each in addresses if each.startswith("#")} <= ids


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_makes_no_markup_of_text_and_keeps_nothing(path):
    text = path.read_text("utf-8")
    markup = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser"
    stores = r"localStorage|sessionStorage|indexedDB|document\.cookie|serviceWorker|caches\b"
    assert re.findall(f"{markup}|{stores}", text) == []
    assert [each for each in re.findall(r"https?://[^\"'`\s]+", text) if "www.w3.org" not in each] == []
    for name in re.findall(r'from "\./([\w.]+)"', text):
        assert (FOLDER / name).is_file()
    assert len(text.splitlines()) <= 350


def test_elements_that_scripts_name_are_in_the_markup(tags):
    ids = {attrs["id"] for _, attrs in tags.found if "id" in attrs}
    for path in SCRIPTS:
        assert set(re.findall(r'\bby\("([\w-]+)"\)', path.read_text("utf-8"))) <= ids


def test_it_wears_the_colours_of_the_report():
    def tokens(text):
        return re.findall(r"--[\w-]+: [^;]+;", text[: text.index("*, *::before")])

    assert tokens((FOLDER / "page.css").read_text("utf-8")) == tokens(REPORT.read_text("utf-8")) != []


def test_every_field_has_a_label_and_every_section_a_name(tags):
    labelled = {attrs.get("for") for tag, attrs in tags.found if tag == "label"}
    fields = [attrs for tag, attrs in tags.found if tag in {"input", "select"} and attrs.get("type") != "checkbox"]
    assert all(attrs["id"] in labelled for attrs in fields)
    unnamed = [
        attrs
        for tag, attrs in tags.found
        if tag in {"section", "dialog"} and attrs.get("id") and not ({"aria-label", "aria-labelledby"} & set(attrs))
    ]
    assert unnamed == []
    assert ("html", {"lang": "en"}) in tags.found
