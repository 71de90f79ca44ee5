"""Squeezers lose what they should, and the signal is the largest change any of them causes."""

import pytest
import torch

from demur.errors import InputError
from demur.filters.denoising import non_local_means
from demur.filters.sampling import resample
from demur.signals import needs_of
from demur.signals.feature_squeezing import FeatureSqueezing, bit_depth
from demur.testing.world import World


@pytest.fixture(scope="module")
def world():
    return World()


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_bit_depth_keeps_so_many_levels(bits):
    x = torch.linspace(0, 1, 4096).view(1, 1, 64, 64)
    squeezed = bit_depth(x, bits)
    assert len(squeezed.unique()) == 2**bits
    assert (squeezed - x).abs().max() <= 0.5 / (2**bits - 1) + 1e-6
    assert squeezed.min() == 0
    assert squeezed.max() == 1
    torch.testing.assert_close(bit_depth(squeezed, bits), squeezed)


def test_the_score_is_the_largest_of_its_parts_and_costs_a_pass_each(world):
    signal = FeatureSqueezing(resample=0.5, jpeg=70)
    seen = world.evidence()
    with torch.no_grad():
        parts = signal.parts(seen)
        assert torch.equal(signal(world.evidence()), torch.stack(list(parts.values())).amax(dim=0))
    assert list(parts) == ["bits", "median", "strength", "resample", "jpeg"]
    assert needs_of(signal).passes == len(parts) == seen.forwards - 1
    assert all(((part >= 0) & (part <= 2)).all() and part.any() for part in parts.values())


@pytest.mark.parametrize(
    ("field", "squeeze"),
    [
        pytest.param(
            {"strength": 0.1, "search": 5}, lambda x: non_local_means(x, strength=0.1, search=5), id="strength"
        ),
        pytest.param({"resample": 0.25}, lambda x: resample(x, 0.25), id="resample"),
    ],
    ids=str,
)
def test_a_field_sets_its_squeezer_alone(field, squeeze, world):
    signal = FeatureSqueezing(**{"bits": 0, "median": 0, "strength": 0.0, **field})
    with torch.no_grad():
        found = signal(world.evidence())
        p, squeezed = (world.net(x).double().softmax(dim=1) for x in (world.images, squeeze(world.images)))
    torch.testing.assert_close(found, (p - squeezed).abs().sum(dim=1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"bits": 9}, "`bits` must be 0 to 8; got 9"),
        ({"strength": 2.0}, "`strength` must be 0 to 1"),
        ({"search": 4}, "`search` must be an odd number of pixels; got 4"),
        ({"resample": 1.0}, "`resample` must be 0 to below 1"),
        ({"jpeg": 96}, "`jpeg` must be 0 to 95"),
        ({"median": -1}, "`median` must be 0 or a number of pixels"),
        ({"bits": 0, "median": 0, "strength": 0.0}, "at least one squeezer is needed"),
    ],
)
def test_what_cannot_be_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        FeatureSqueezing(**given)
