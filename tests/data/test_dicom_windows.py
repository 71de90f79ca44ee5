"""What of `dicom:` needs no library: how stored values become shares of black to white."""

import numpy as np
import pytest

from demur.data import open_data
from demur.data.dicom import Window, in_window, stored_range
from demur.errors import AddressError, MissingExtraError


class Head(dict):
    """The tags of a file."""

    def __getattr__(self, name):
        return self[name]


def head(**tags):
    return Head({"BitsStored": 12, "PixelRepresentation": 0, "PhotometricInterpretation": "MONOCHROME2"} | tags)


VALUES = np.array([[0, 1024, 4095]], np.uint16)


def test_the_full_range_is_that_of_the_stored_bits():
    np.testing.assert_allclose(in_window(VALUES, head(), Window()), [[0, 1024 / 4095, 1]], rtol=1e-6)
    signed = np.array([[-2048, 0, 2047]], np.int16)
    found = in_window(signed, head(PixelRepresentation=1), Window())
    np.testing.assert_allclose(found, [[0, 2048 / 4095, 1]], rtol=1e-6)
    assert (stored_range(head()), stored_range(head(PixelRepresentation=1))) == ((0, 4095), (-2048, 2047))


@pytest.mark.parametrize("tags", [{}, {"RescaleSlope": 2, "RescaleIntercept": -1024}])
def test_low_is_bright_in_monochrome1(tags):
    plain, turned = (
        in_window(VALUES, head(PhotometricInterpretation=f"MONOCHROME{kind}", **tags), Window()) for kind in (2, 1)
    )
    np.testing.assert_allclose(plain + turned, 1, rtol=1e-6)


def test_a_slope_below_zero_turns_the_range_around():
    found = in_window(VALUES, head(RescaleSlope=-1, RescaleIntercept=0), Window())
    np.testing.assert_allclose(found, [[1, 1 - 1024 / 4095, 0]], rtol=1e-6)


def test_a_window_is_in_the_unit_of_the_modality():
    tags = {"RescaleSlope": 1, "RescaleIntercept": -1024}
    # C.11.2.1.2.1: black up to c - 0.5 - (w - 1) / 2, white from c - 0.5 + (w - 1) / 2
    stored = np.array([[1024 + 40 - 201, 1024 + 40, 1024 + 40 + 200]], np.uint16)
    found = in_window(stored, head(**tags), Window.of("40/400"))
    np.testing.assert_allclose(found, [[0, 0.5 / 399 + 0.5, 1]], atol=1e-6)
    file = head(**tags, WindowCenter=40, WindowWidth=400)
    np.testing.assert_array_equal(in_window(stored, file, Window.of("file")), found)
    several = head(**tags, WindowCenter=[40, 700], WindowWidth=[400, 20])
    np.testing.assert_array_equal(in_window(stored, several, Window.of("file")), found)


@pytest.mark.parametrize("tags", [{}, {"WindowCenter": 4}, {"WindowCenter": "", "WindowWidth": ""}, {"WindowCenter": [], "WindowWidth": []}])  # fmt: skip  # noqa: E501
def test_a_file_without_a_window_has_none(tags):
    assert in_window(VALUES, head(**tags), Window.of("file")) is None


@pytest.mark.parametrize("text", ["40", "40/", "40/1", "a/b", "40/-3", "", "nan/9"])
def test_a_window_that_is_none_is_refused(text):
    with pytest.raises(AddressError, match="`window` must be full, file or CENTRE/WIDTH"):
        Window.of(text)


def test_the_missing_library_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("demur.data.dicom.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"DICOM files needs .*pip install 'demur\[dicom\]'"):
        open_data(f"dicom:{tmp_path}")
