"""`demur report --figures`: the files are there and counted, and no other format is taken."""

import pytest
from tests import tiny

from demur.analysis import analyse
from demur.report.figure_files import figures


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A finished run, of which only two figures are drawn."""
    folder = tiny.run(tmp_path / "run", conditions=("clean", "gaussian_noise(severity=4)"))
    few = {"roc", "class-ranking"}
    monkeypatch.setattr(
        "demur.report.figure_files.figures",
        lambda results: (figure for figure in figures(results) if figure.drawing.name in few),
    )
    return folder


def test_the_figures_are_written_beside_the_report_and_counted(demur, run):
    said = demur("report", run, "--figures", "svg")
    assert f"Figures: 2 files in {run / 'figures'}" in said.out
    assert {path.name for path in (run / "figures").iterdir()} == {"roc.svg", "class-ranking.svg", "captions.md"}
    assert analyse(run).figures is not None
    again = demur("report", run)
    assert "Figures:" not in again.out


def test_another_format_is_refused(demur, run):
    said = demur("report", run, "--figures", "gif")
    assert said.status == 2
    assert not (run / "figures").exists()
