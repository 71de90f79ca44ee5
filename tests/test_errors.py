from hypothesis import given
from hypothesis import strategies as st

from demur.errors import brief, legible, unknown


@given(st.text())
def test_what_is_legible_prints_anywhere_and_stays_so(text):
    shown = legible(text)
    shown.encode()
    assert "\n" not in shown
    assert "\x1b" not in shown
    assert legible(shown) == shown


def test_bytes_and_characters_that_no_screen_shows_are_written_out():
    assert legible("Straße 日本 👍") == "Straße 日本 👍"
    assert legible(b"caf\xe9".decode("utf-8", "surrogateescape")) == "caf\\xe9"
    assert legible("a\x1b[1m\u202eb\u2028\ud800\x85") == "a\\x1b[1m\\u202eb\\u2028\\ud800\\x85"


@given(st.text(max_size=600))
def test_a_brief_text_keeps_both_ends(text):
    short = brief(text)
    assert len(short) <= 200
    assert short == text or (text.startswith(short[:90]) and text.endswith(short[-90:]))


def test_an_unknown_name_lists_some_of_very_many():
    said = str(unknown("column", "c5000x" + "y" * 10**6, [f"c{number}" for number in range(100_000)]))
    assert len(said) < 1_000
    assert said.endswith("and 99,960 more.")
