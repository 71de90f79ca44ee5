"""Writing a report into a run folder."""

import subprocess
import sys

import pytest

from demur.errors import RunError
from demur.report import render, words, write
from demur.report.first_screen import FirstScreen
from tests.report.example_results import STATES, run


@pytest.mark.parametrize("state", STATES)
def test_results_survive_the_run_folder(state, tmp_path):
    (tmp_path / "results.json").write_text(run(state).model_dump_json())
    target = write(tmp_path).path
    assert target == tmp_path / "report.html"
    assert target.read_text(encoding="utf-8") == render(run(state))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "junit.xml",
        "report.html",
        "results.json",
        "summary.md",
    ]


def test_an_old_report_is_replaced(tmp_path):
    (tmp_path / "results.json").write_text(run("issued").model_dump_json())
    (tmp_path / "report.html").write_text("old")
    assert write(tmp_path).path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_results_at_hand_are_not_read_again_and_their_first_screen_is_made_once(tmp_path, monkeypatch):
    made, of = [], FirstScreen.of

    def counted(results):
        made.append(results)
        return of(results)

    monkeypatch.setattr(FirstScreen, "of", counted)
    written = write(tmp_path, run("issued"))
    assert len(made) == 1
    assert written.words == words(run("issued"))
    assert written.path.read_text(encoding="utf-8") == render(run("issued"))


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"needs results\.json"):
        write(tmp_path)


def test_results_of_another_schema_are_refused(tmp_path):
    (tmp_path / "results.json").write_text('{"schema_version": 2}')
    with pytest.raises(RunError, match="must follow the schema"):
        write(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_importing_the_report_is_light():
    code = "import sys, demur.report; print({'jinja2', 'altair', 'vl_convert', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
