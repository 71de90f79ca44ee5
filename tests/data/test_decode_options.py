import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.errors import AddressError
from demur.pictures.decode_rules import DECODE_OPTIONS, Rules, completed
from demur.registry import Address

SIDE = st.integers(1, 4096)
DEFAULTS = {"bilinear", "pillow", "on", "black", "turn"}


WHOLE = st.builds(
    dict,
    size=st.tuples(SIDE, SIDE),
    resize=st.none() | SIDE | st.tuples(SIDE, SIDE),
    floor=st.booleans(),
    interpolation=st.sampled_from(["nearest", "bilinear", "bicubic"]),
    resizer=st.sampled_from(["pillow", "torch"]),
    antialias=st.booleans(),
    channels=st.sampled_from([None, 1, 3]),
    full_scale=st.none() | st.integers(1, 2**31) | st.floats(0.001, 1e6),
    alpha=st.sampled_from(["black", "white", "ignore"]),
    unturned=st.booleans(),
)


@given(WHOLE, st.booleans())
def test_what_is_written_in_an_address_is_read(fields, crop):
    crop = crop or fields["resize"] is not None
    fields["floor"] = crop and (fields["floor"] or (fields["resizer"] == "torch" and fields["resize"] is None))
    fields["antialias"] = fields["antialias"] or fields["resizer"] == "pillow"
    rules = Rules(crop=crop, **fields)
    query = "&".join(f"{key}={value}" for key, value in rules.options.items())
    assert Rules.of(Address.parse(f"folder:somewhere?{query}", "data").options) == rules


@given(st.sampled_from(DECODE_OPTIONS), st.text(max_size=12))
def test_any_text_is_a_rule_or_a_clear_error(option, text):
    with contextlib.suppress(AddressError):
        assert Rules.of({option: text}) != Rules() or text in DEFAULTS


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": "0"}, "from 1 to 4096 pixels; got '0'"),
        ({"size": "64x"}, "HEIGHTxWIDTH"),
        ({"size": "9000"}, "got '9000'"),
        ({"crop": "center"}, "needs a size"),
        ({"crop": "random", "size": "64"}, "must be center or floor"),
        ({"resize": "72"}, "needs a size"),
        ({"resize": "72", "size": "64"}, "Add &crop=center"),
        ({"resize": "0", "size": "64", "crop": "center"}, "`resize` must be"),
        ({"interpolation": "cubic"}, "must be nearest, bilinear, bicubic, lanczos, box or hamming"),
        ({"resizer": "torch", "interpolation": "lanczos"}, "has the interpolations"),
        ({"resizer": "torch", "size": "64", "crop": "center"}, "cuts at whole pixels"),
        ({"antialias": "off"}, "needs `resizer=torch`"),
        ({"alpha": "grey"}, "must be black, white or ignore"),
        ({"exif": "no"}, "must be turn or ignore"),
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


def test_a_box_moves_with_a_picture_that_is_scaled_before_it_is_cut():
    rules = Rules(size=(20, 20), resize=40, crop=True)
    assert rules.window(height=80, width=160) == (60, 20, 100, 60)
    assert rules.moved((60, 20, 80, 60), height=80, width=160) == (0, 0, 10, 20)
    assert rules.moved((0, 0, 70, 30), height=80, width=160) == (0, 0, 5, 5)


@given(WHOLE)
def test_completed_options_need_no_completing(fields):
    rules = Rules(crop=True, **{**fields, "resizer": "pillow", "antialias": True})
    once = completed({"split": "test"}, rules)
    assert completed(once, rules) == once
    assert completed(once, Rules(size=(7, 7), interpolation="lanczos")) == once
    assert Rules.of(once) == rules


def test_the_sentence_names_what_differs():
    rules = Rules(size=(32, 32), resizer="torch", antialias=False, alpha="ignore", unturned=True, channels=1)
    assert rules.sentence == (
        "stretched to 32 × 32 px (bilinear by torch, not antialiased), grey, transparency ignored, "
        "EXIF orientation ignored"
    )
    assert Rules().sentence == "size as it is"
