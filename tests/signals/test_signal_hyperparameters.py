"""What hyper-parameters are where a plan does not say, and where what they may be ends."""

import dataclasses
import math

import pytest

from demur.errors import InputError, UnknownNameError
from demur.registry import names, resolve
from demur.signals import KNN, ODIN, TemperatureScaled, needs_of
from demur.signals.softmax_scores import MSP, Energy, Entropy, Margin, MaxLogit

DEFAULTS = {
    "activation_entropy": {
        "layers": (),
        "bins": 30,
        "edges": (),
        "side": "two",
        "fusion": "mean",
        "binning": "quantile",
        "in_bits": False,
    },
    "conductance": {"layer": "", "layers": (), "steps": 10, "estimator": "logistic", "folds": 5, "by_class": False},
    "doctor": {"variant": "alpha"},
    "energy": {"temperature": 1.0},
    "entropy": {},
    "feature_squeezing": {"bits": 5, "median": 2, "strength": 2 / 255, "search": 13, "resample": 0.0, "jpeg": 0},
    "knn": {"k": 10},
    "label_change_rate": {
        "operator": "nai",
        "gamma": 0.01,
        "mutants": 100,
        "kept": 0.9,
        "stopping": "predictive",
        "seed": 0,
    },
    "mahalanobis": {"relative": False},
    "margin": {},
    "max_logit": {},
    "maxlogit_pnorm": {"largest": 9},
    "mc_dropout": {"n": 20, "score": "entropy"},
    "msp": {},
    "odin": {"temperature": 1000.0, "eps": 0.0014},
    "pnorm": {"p": 5},
    "relative_u": {"balance": 0.5, "temperature": 1.0},
    "stack": {"signals": (MSP(), Entropy(), Margin(), MaxLogit(), Energy()), "folds": 5, "penalty": 1.0},
    "temperature_scaled": {"signal": MSP()},
    "tempered": {"signal": MSP(), "temperature": 1.0},
    "tta": {"move": 1, "mirror": True},
    "vim": {"dim": 0},
}
# The unit, whether features are read, passes for each image and for each reference image, what it is made of.
FACTS = {
    "activation_entropy": ("standard deviations", True, 0, 0, "layers"),
    "conductance": ("probability of an error", True, 0, 0, "maps"),
    "doctor": ("odds", False, 0, 0, None),
    "energy": ("logits", False, 0, 0, None),
    "ensemble_disagreement": ("nats", False, 1, 0, None),
    "entropy": ("nats", False, 0, 0, None),
    "feature_squeezing": ("L1 distance of probabilities", False, 3, 0, "squeezers"),
    "knn": ("chord length", True, 0, 0, None),
    "label_change_rate": ("share of mutants", False, 119, 300, "mutants"),
    "mahalanobis": ("squared standard deviations", True, 0, 0, None),
    "margin": ("probability", False, 0, 0, None),
    "max_logit": ("logits", False, 0, 0, None),
    "maxlogit_pnorm": ("share of the norm", False, 0, 0, None),
    "mc_dropout": ("nats", False, 20, 0, None),
    "msp": ("probability", False, 0, 0, None),
    "odin": ("probability", False, 3.25, 0, None),
    "pnorm": ("share of the norm", False, 0, 0, None),
    "relative_u": ("relative uncertainty", False, 0, 0, None),
    "stack": ("log-odds", False, 0, 0, None),
    "temperature_scaled": ("probability", False, 0, 0, None),
    "tempered": ("probability", False, 0, 0, None),
    "tta": ("probability", False, 5, 0, None),
    "vim": ("logits", True, 0, 0, None),
}
FINITE = ([1e-6, 1e6], [0.0, -1.0, math.inf, math.nan])
ENDS = [
    ("activation_entropy", "bins", [2], [1]),
    ("activation_entropy", "edges", [(), (0.0, 1.0, 2.0)], [(0.0,), (0.0, 1.0), (0.0, 1.0, 1.0), (0.0, 2.0, 1.0)]),
    ("activation_entropy", "side", ["two", "upper", "lower"], ["both"]),
    ("activation_entropy", "fusion", ["mean", "learned"], ["median"]),
    ("activation_entropy", "binning", ["quantile", "uniform"], ["wide"]),
    ("conductance", "steps", [1], [0]),
    ("conductance", "folds", [2], [1]),
    ("conductance", "estimator", ["logistic", "qda"], ["forest of none"]),
    ("doctor", "variant", ["alpha", "beta"], ["gamma"]),
    ("energy", "temperature", *FINITE),
    ("feature_squeezing", "bits", [0, 1, 8], [-1, 9]),
    ("feature_squeezing", "median", [0, 1], [-1]),
    ("feature_squeezing", "strength", [0.0, 1.0], [-0.001, 1.001]),
    ("feature_squeezing", "search", [1, 3], [2, 0]),
    ("feature_squeezing", "resample", [0.0, 0.999], [-0.001, 1.0]),
    ("feature_squeezing", "jpeg", [0, 1, 95], [-1, 96]),
    ("knn", "k", [1], [0]),
    ("label_change_rate", "mutants", [1], [0]),
    ("label_change_rate", "kept", [0.0, 1.0], [-0.001, 1.001]),
    ("label_change_rate", "gamma", [1e-6, 0.999], [0.0, 1.0]),
    ("label_change_rate", "operator", ["gf", "nai", "ns"], ["nab"]),
    ("label_change_rate", "stopping", ["predictive", "sprt", "never"], ["always"]),
    ("maxlogit_pnorm", "largest", [0], [-1]),
    ("mc_dropout", "n", [2], [1]),
    ("mc_dropout", "score", ["entropy", "mutual_information"], ["variance"]),
    ("odin", "temperature", *FINITE),
    ("odin", "eps", [0.0, 1.0], [-0.001, 1.001]),
    ("pnorm", "p", [0], [-1]),
    ("relative_u", "balance", [1e-6, 1.0], [0.0, 1.001]),
    ("relative_u", "temperature", *FINITE),
    ("stack", "signals", [(MSP(),)], [()]),
    ("stack", "folds", [2], [1]),
    ("stack", "penalty", *FINITE),
    ("tempered", "temperature", *FINITE),
    ("tta", "move", [1], [0]),
    ("vim", "dim", [0], [-1]),
]


def test_every_signal_here_is_there():
    """One that joins them may pin its defaults beside its reference."""
    assert set(DEFAULTS) <= set(names("signal"))


@pytest.mark.parametrize("name", DEFAULTS)
def test_what_a_plan_leaves_out_stays_what_it_was(name):
    """Names leave defaults out, so another default would be another signal under the old name."""
    fields = dataclasses.fields(resolve("signal", name))
    assert DEFAULTS[name] == {each.name: each.default for each in fields}


@pytest.mark.parametrize("name", FACTS)
def test_a_signal_says_of_itself_what_is_so(name):
    signal = resolve("signal", name)()
    needs = needs_of(signal)
    told = (signal.unit, needs.features, needs.passes, needs.fitting, getattr(signal, "made_of", None))
    assert told == FACTS[name]
    assert needs.layers == ()


@pytest.mark.parametrize("name", ["tempered", "temperature_scaled"])
@pytest.mark.parametrize(("other", "told"), [(KNN(), "knn"), (ODIN(), "odin"), (TemperatureScaled(), "temperature_")])
def test_a_temperature_is_for_signals_of_logits_alone(name, other, told):
    with pytest.raises(InputError, match=f"^{name}: `signal` must read logits alone.*got {told}"):
        resolve("signal", name)(signal=other)


@pytest.mark.parametrize(("name", "field", "allowed", "refused"), ENDS, ids=[f"{row[0]}-{row[1]}" for row in ENDS])
def test_a_hyper_parameter_may_be_what_it_may_and_no_more(name, field, allowed, refused):
    factory = resolve("signal", name)
    for value in allowed:
        assert getattr(factory(**{field: value}), field) == value
    for value in refused:
        with pytest.raises((InputError, UnknownNameError), match=rf"`{field}`|unknown {field}"):
            factory(**{field: value})


def test_at_least_one_squeezer_is_needed():
    factory = resolve("signal", "feature_squeezing")
    none = {"bits": 0, "median": 0, "strength": 0.0, "resample": 0.0, "jpeg": 0}
    with pytest.raises(InputError, match="at least one squeezer"):
        factory(**none)
    for field, value in (("bits", 1), ("median", 2), ("strength", 0.1), ("resample", 0.5), ("jpeg", 50)):
        assert len(factory(**none | {field: value}).squeezers) == 1
