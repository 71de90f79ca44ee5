"""Another signal, attack, corruption or map is its own file and one line in a table: nothing else has to know."""

import pytest
from tests.house import additions

from demur.files import read_json
from demur.records import read
from demur.registry import TABLES
from demur.testing import check_attack, check_corruption, check_map, check_signal


def test_another_signal_is_measured_and_ranked(audited, tmp_path, monkeypatch):
    monkeypatch.setitem(TABLES["signal"], "range", f"{additions.__name__}:Range")
    asked = {"signals__use": ["msp", "range(scale=2.0)"], "conditions__use": ["clean"], "policies__use": ["certified"]}
    results = audited(tmp_path / "run", **asked)
    assert [signal.name for signal in results.signals] == ["msp", "range(scale=2.0)"]
    assert results.signals[1].sentence == additions.Range.__doc__.partition("\n")[0]
    assert read(tmp_path / "run")["signal.range(scale=2.0)"].is_finite().all()


@pytest.mark.slow
def test_another_attack_is_run_and_judged(audited, tmp_path, monkeypatch):
    monkeypatch.setitem(TABLES["attack"], "brighten", f"{additions.__name__}:Brighten")
    results = audited(tmp_path / "run", conditions__use=["clean", "brighten(eps=[0.1, 0.2])"])
    assert [row.condition for row in results.conditions] == ["clean", "brighten(eps=0.1)", "brighten(eps=0.2)"]
    assert read(tmp_path / "run", "brighten(eps=0.2)")["distance.linf"].max() <= 0.2 + 1e-6
    sentence = read_json(tmp_path / "run" / "run.json")["conditions"][1]["sentence"]
    assert sentence.startswith("Brighter, every pixel changed by at most 10 %")


@pytest.mark.slow
def test_another_corruption_is_applied_and_ranked(audited, tmp_path, monkeypatch):
    monkeypatch.setitem(TABLES["corruption"], "veil", f"{additions.__name__}:Veil")
    results = audited(tmp_path / "run", conditions__use=["clean", "veil(severity=[1, 5])"])
    assert [row.condition for row in results.conditions] == ["clean", "veil(severity=1)", "veil(severity=5)"]
    sentences = [each["sentence"] for each in read_json(tmp_path / "run" / "run.json")["conditions"]]
    assert sentences[1:3] == [f"A veil, {share} of the light comes through" for share in (0.9, 0.5)]


def test_all_of_them_keep_the_contracts(monkeypatch):
    for kind, name in (("attack", "brighten"), ("corruption", "veil"), ("map", "brightness"), ("signal", "range")):
        own = {"brighten": "Brighten", "veil": "Veil", "brightness": "Brightness", "range": "Range"}[name]
        monkeypatch.setitem(TABLES[kind], name, f"{additions.__name__}:{own}")
    check_attack("brighten")
    check_corruption("veil")
    check_map("brightness(power=2.0)")
    check_signal("range(scale=2.0)")


@pytest.mark.slow
def test_another_map_is_measured_and_found_to_look_at_no_weights(audited, tmp_path, monkeypatch):
    monkeypatch.setitem(TABLES["map"], "brightness", f"{additions.__name__}:Brightness")
    asked = {"attribution__maps": ["brightness(power=2.0)"], "attribution__images": 12}
    found = audited(tmp_path / "run", conditions__use=["clean"], policies__use=["certified"], **asked).attribution.maps[
        0
    ]
    assert (found.name, found.sentence) == ("brightness(power=2.0)", additions.Brightness.sentence)
    assert (found.n, found.height, found.width) == (12, 28, 28)
    assert (found.sanity.state, found.sanity.correlation.value) == ("fail", 1)
