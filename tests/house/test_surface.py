"""What users may rely on."""

from importlib.resources import files

import pytest

import demur
from demur.registry import class_names

PUBLIC = (
    "Classifier DemurError Evidence Guard Results analyse audit certify fit_guard from_dataset from_tensors load_model "
    "open_data "
    # attacks
    "APGD APGDT ART BIM ByPath CW DDN DeepFool Ensemble FGSM FMN Foolbox MIFGSM Noise PGD Ray Spatial Square "
    "Torchattacks "
    # signals
    "ActivationEntropy Conductance Doctor Energy Entropy FeatureSqueezing KNN LabelChangeRate Mahalanobis Margin "
    "MaxLogit MaxLogitPNorm MCDropout MSP ODIN PNorm RelativeU Stack TemperatureScaled Tempered TTA ViM "
    # policies
    "Certified Rule Threshold"
)


REGISTERED = {each for kind in ("attack", "signal", "policy") for each in class_names(kind)}


def test_the_public_surface_is_pinned():
    """What is here stays; what a table names joins it without a line here."""
    assert demur.__all__ == sorted({*PUBLIC.split(), *REGISTERED})
    assert set(demur.__all__) < set(dir(demur))


@pytest.mark.parametrize("name", PUBLIC.split())
def test_a_public_name_is_there_and_says_what_it_is(name):
    assert getattr(demur, name).__doc__.strip()


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="audit_everything"):
        _ = demur.audit_everything


def test_type_checkers_may_read_the_package():
    assert files("demur").joinpath("py.typed").is_file()
