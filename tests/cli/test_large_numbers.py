"""Numbers without bound, from the command line: one sentence, and no JSON that is none."""

import json

import pytest
from tests.cli.conftest import refused

from demur.cli import strict_json
from demur.errors import InputError
from demur.pipeline.estimate.plan_estimate import Machines
from demur.pipeline.run.resources import MOST, Resources

LARGE = "9" * 401


@pytest.mark.parametrize(
    ("given", "option"),
    [
        (("plan", "fashion", "fashion", "--estimate", "--machines", LARGE), "--machines"),
        (("plan", "fashion", "fashion", "--estimate", "--workers", LARGE), "--workers"),
        (("audit", "fashion", "fashion", "--workers", LARGE), "--workers"),
        (("audit", "fashion", "fashion", "--threads", LARGE), "--threads"),
        (("audit", "fashion", "fashion", "--image-memory", LARGE), "--image-memory"),
        (("bench", "fashion", "fashion", "--threads", LARGE), "--threads"),
        (("plan", "fashion", "fashion", "--shards", f"-{LARGE}"), "--shards"),
    ],
)
def test_a_number_that_no_machine_counts_with_is_refused(demur, given, option):
    refused(demur(*given), f"{option} is a whole number between", "of 401 digits")


@pytest.mark.parametrize("name", ["workers", "threads", "image_memory"])
def test_more_than_there_can_be_is_refused(name):
    with pytest.raises(InputError, match=f"`{name}` must be at least .*, and at most 1,000,000,000; got 1000000001"):
        Resources(**{name: MOST + 1})
    with pytest.raises(InputError, match="must be at least"):
        Resources(**{name: 10**400})


@pytest.mark.parametrize(
    "given", [{"machines": MOST + 1}, {"workers": 10**400}, {"price": 1e308}, {"price": float("nan")}]
)
def test_an_estimate_has_bounds(given):
    with pytest.raises(InputError, match="1,000,000,000"):
        Machines(**given)


def test_what_is_printed_as_json_is_json():
    inf, nan = float("inf"), float("nan")
    told = strict_json.dumps({"a": [inf, (nan, 1.5)], "b": {"c": -inf, "d": 10**30}, "e": True}, indent=1)
    assert json.loads(told, parse_constant=None) == {"a": [None, [None, 1.5]], "b": {"c": None, "d": 10**30}, "e": True}
    assert "Infinity" not in told
