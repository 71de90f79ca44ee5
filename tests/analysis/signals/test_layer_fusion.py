"""What the fitting of a signal of several layers says, read back; runs that say less still read."""

from types import SimpleNamespace

import pytest
from pydantic import TypeAdapter

from demur.analysis.file_shapes import FACTS
from demur.analysis.signals.layer_fusion import layer_fusions, layer_pairs

SHARED = [[2.0, 0.1, 0.3], [0.1, 2.0, 0.7], [0.3, 0.7, 2.0]]
LEARNED = {
    "layers": ["a", "b", "c"],
    "mutual_information": SHARED,
    "rows": 480,
    "wrong": 37,
    "held_out_auroc": 0.64,
    "layer_auroc": [0.5, 0.61, 0.4],
    "beats_its_layers": True,
}


def run(*facts):
    entries = [{"name": f"s{at}", "facts": own} for at, own in enumerate(facts)]
    TypeAdapter(FACTS["facts/signals.json"]).validate_python(entries, strict=True)
    return SimpleNamespace(optional_facts={"signals": entries or None}.get)


def test_a_learned_fusion_stands_beside_its_layers():
    (found,) = layer_fusions(run(LEARNED))
    assert (found.signal, found.held_out_auroc, found.layer_auroc) == ("s0", 0.64, (0.5, 0.61, 0.4))
    assert (found.images, found.errors, found.beats_its_layers) == (480, 37, True)


def test_layers_that_have_most_in_common_come_first():
    (found,) = layer_fusions(run(LEARNED))
    pairs = [(pair.layer, pair.other, pair.mutual_information) for pair in layer_pairs(found)]
    assert pairs == [("b", "c", 0.7), ("a", "c", 0.3), ("a", "b", 0.1)]


def test_a_mean_says_what_its_layers_share_and_a_single_layer_nothing():
    (found,) = layer_fusions(run({"layers": ["a", "b"], "mutual_information": [[1, 0.5], [0.5, 1]]}, {"layers": ["a"]}))
    assert (found.held_out_auroc, found.layer_auroc, found.beats_its_layers) == (None, (), None)
    assert layer_fusions(run({"layers": ["a"], "mutual_information": [[1.0]]}, {"bank": 3})) == ()


def test_runs_of_earlier_versions_say_nothing():
    assert layer_fusions(run()) == ()
    assert layer_fusions(run({"layers": ["a", "b"], "mean": [0.0, 1.0]})) == ()


def test_facts_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="layer_auroc"):
        run({**LEARNED, "layer_auroc": "high"})
