"""Every registered signal is an attribute of the room, imported when it is first used."""

import subprocess
import sys

import pytest

import demur.signals
from demur.registry import names, resolve


@pytest.mark.parametrize("name", names("signal"))
def test_a_registered_class_is_an_attribute_of_the_room(name):
    made = resolve("signal", name)
    assert getattr(demur.signals, made.__name__) is made
    assert made.__name__ in dir(demur.signals)


def test_an_attribute_that_is_no_signal_is_refused():
    with pytest.raises(AttributeError, match=r"module 'demur\.signals' has no attribute 'Knn'"):
        _ = demur.signals.Knn


def test_the_room_imports_a_signal_when_it_is_used():
    loaded = "print('demur.signals.feature_distances' in sys.modules, 'demur.signals.softmax_scores' in sys.modules)"
    code = f"import sys, demur.signals as s; {loaded}; s.ViM; {loaded}"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["False", "False", "True", "False"]
