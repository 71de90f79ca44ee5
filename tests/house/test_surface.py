"""What users may rely on."""

from importlib.resources import files

import pytest

import demur

PUBLIC = (
    "Certified Classifier DemurError Results Rule Threshold analyse from_dataset from_tensors load_model open_data "
    "run_audit"
)


def test_the_public_surface_is_pinned():
    assert demur.__all__ == PUBLIC.split()
    assert set(demur.__all__) < set(dir(demur))


@pytest.mark.parametrize("name", PUBLIC.split())
def test_a_public_name_is_there_and_says_what_it_is(name):
    assert getattr(demur, name).__doc__.strip()


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="audit_all"):
        _ = demur.audit_all


def test_type_checkers_may_read_the_package():
    assert files("demur").joinpath("py.typed").is_file()
