import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.errors import AddressError
from demur.pictures.decode_rules import Rules
from demur.registry import Address

SIDE = st.integers(1, 4096)


@given(SIDE, SIDE, st.booleans(), st.sampled_from([None, "grey", "rgb"]), st.none() | st.integers(1, 2**31))
def test_what_is_written_in_an_address_is_read(height, width, crop, colour, white):
    options = {"size": f"{height}x{width}", "colour": colour, "full_scale": white, "crop": "center" if crop else None}
    query = "&".join(f"{key}={value}" for key, value in options.items() if value is not None)
    rules = Rules.of(Address.parse(f"folder:somewhere?{query}", "data").options)
    assert rules == Rules(
        size=(height, width), crop=crop, channels={None: None, "grey": 1, "rgb": 3}[colour], full_scale=white
    )


@given(st.sampled_from(["size", "crop", "colour", "full_scale"]), st.text(max_size=12))
def test_any_text_is_a_rule_or_a_clear_error(option, text):
    with contextlib.suppress(AddressError):
        assert Rules.of({option: text}) != Rules()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": "0"}, "from 1 to 4096 pixels; got '0'"),
        ({"size": "64x"}, "HEIGHTxWIDTH"),
        ({"size": "9000"}, "got '9000'"),
        ({"crop": "center"}, "needs a size"),
        ({"crop": "random", "size": "64"}, "must be center"),
        ({"colour": "bgr"}, "grey or rgb"),
        ({"full_scale": "-1"}, "value of white"),
        ({"full_scale": "nan"}, "value of white"),
        ({"full_scale": "inf"}, "value of white"),
    ],
)
def test_what_is_no_rule_is_refused(options, says):
    with pytest.raises(AddressError, match=says):
        Rules.of(options)


@given(SIDE, SIDE, SIDE, SIDE)
def test_the_window_is_the_largest_of_its_proportions(height, width, high, wide):
    left, top, right, bottom = Rules(size=(high, wide), crop=True).window(height, width)
    assert (right - left) * high == pytest.approx((bottom - top) * wide)
    assert min(left, top) == pytest.approx(0, abs=1e-6)
    assert (left + right) / 2 == pytest.approx(width / 2)
    assert (top + bottom) / 2 == pytest.approx(height / 2)


def test_a_box_moves_with_its_picture():
    assert Rules().moved((3, 4, 10, 20), 64, 64) == (3, 4, 10, 20)
    assert Rules(size=(32, 128)).moved((3, 4, 10, 21), 64, 64) == (6, 2, 20, 11)
    assert Rules(size=(10, 10), crop=True).moved((0, 0, 15, 10), height=10, width=30) == (0, 0, 5, 10)
