"""The charts' script is bundled once and kept; what is not whole, or of another version, is bundled again."""

import pytest

from demur.report import vega_script as module
from demur.report.vega_script import vega_script


@pytest.fixture
def bundled(monkeypatch, tmp_path):
    """How often it was bundled, with a cache folder of its own."""
    times = []

    def bundle(snippet):
        times.append(snippet)
        return f"draw(); // </script> {len(times)}"

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(module.vl_convert, "javascript_bundle", bundle)
    yield times
    vega_script.cache_clear()


def fresh():
    vega_script.cache_clear()
    return vega_script()


def test_it_is_bundled_once(bundled, tmp_path):
    first = fresh()
    assert first == "draw(); // <\\/script> 1"
    assert fresh() == first
    assert len(bundled) == 1
    (kept,) = (tmp_path / "demur").iterdir()
    assert kept.read_text() == first


def test_one_that_was_changed_is_not_read(bundled, tmp_path):
    fresh()
    (kept,) = (tmp_path / "demur").iterdir()
    kept.write_text("steal();")
    assert fresh().endswith("2")
    assert fresh().endswith("2")


def test_one_of_another_version_is_not_read(bundled, monkeypatch):
    fresh()
    monkeypatch.setattr(module, "version", lambda _: "0.0.0")
    assert fresh().endswith("2")


def test_without_a_place_to_keep_it_there_is_a_script_all_the_same(bundled, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert fresh().endswith("1")
    assert fresh().endswith("2")
