"""Each corruption against a slow reference, and the tables of parameters against the published ones."""

import dataclasses
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from tests.corruptions import slow_corruptions
from tests.corruptions.slow_corruptions import PUBLISHED, published

from demur.corruptions import parameter
from demur.corruptions.noises import poisson
from demur.corruptions.weather import heights, textures
from demur.errors import InputError
from demur.randomness import Keys
from demur.registry import build, names, resolve
from demur.testing import check_corruption
from demur.testing.image_contracts import CORRUPTION_RULES
from demur.testing.rules import check_rules

REFERENCES = {name: getattr(slow_corruptions, name) for name in PUBLISHED}
SIDES = (28, 32, 64, 224, 299)
SEVERITIES = (1, 2, 3, 4, 5)
ORDERED = sorted(set(names("corruption")) - {"elastic_transform", "frost", "glass_blur", "saturate", "spatter"})
"""Corruptions whose published severities change pixels more and more."""
SWITCHED = ("frost", "glass_blur")
OWN = [
    name
    for name in names("corruption")
    if "value" in {field.name for field in dataclasses.fields(resolve("corruption", name))}
]
"""Corruptions that take a parameter of one's own."""


def pictures(rows, shape=(3, 32, 32), seed=0):
    """Smooth shapes with sharp edges, from black to white, in 8 bits."""
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.normal(size=(rows, *shape)), (0, 0, 3, 3))
    scaled = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    scaled[:, :, 8:16, 10:20] = rng.choice([0.0, 1.0], (rows, 1, 1, 1))
    return torch.from_numpy((scaled * 255).round().astype(np.float32) / 255)


def keys_of(rows, condition="c"):
    return Keys.of(0, [str(row) for row in range(rows)], condition)


def corruption(name, severity, **more):
    return resolve("corruption", name)(severity=severity, **more)


def test_every_registered_corruption_has_a_reference():
    assert set(REFERENCES) == set(names("corruption"))


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize(("channels", "side"), [(1, 28), (3, 64)])
def test_a_corruption_equals_its_slow_reference(name, severity, channels, side):
    if name == "spatter" and side == 64 and severity < 4:
        side = 48  # the reference is too slow; the parameters are those of 64
    x, keys = pictures(2, (channels, side, side + 7)), keys_of(2)
    found = corruption(name, severity)(x, keys).numpy()
    for row in range(2):
        expected = REFERENCES[name](x[row].double().numpy(), keys.rows([row]), published(name, side)[severity - 1])
        assert np.abs(found[row] - expected).mean() < 1e-5
        rounded = {"shot_noise": 0.001, "jpeg_compression": 0.0, "elastic_transform": 0.0, "spatter": 0.005}
        assert (np.abs(found[row] - expected) > 1e-4).mean() <= rounded.get(name, 0.0)


@pytest.mark.parametrize("name", SWITCHED)
@pytest.mark.parametrize("severity", [1, 3, 5])
def test_the_quirks_of_the_originals_are_a_switch(name, severity):
    x, keys = pictures(4, (3, 32, 40)), keys_of(4)
    ours, theirs = (corruption(name, severity, as_published=switch)(x, keys) for switch in (False, True))
    assert not torch.equal(ours, theirs)
    for row in range(4):
        image, key, strength = x[row].double().numpy(), keys.rows([row]), published(name, 32)[severity - 1]
        expected = REFERENCES[name](image, key, strength, as_published=True)
        np.testing.assert_allclose(theirs[row].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("side", SIDES)
def test_the_parameters_are_the_published_ones_of_the_nearest_size(name, side):
    found = [parameter(corruption(name, severity), side) for severity in SEVERITIES]
    for ours, theirs in zip(found, published(name, side), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize("name", REFERENCES)
def test_the_short_side_decides(name):
    across, keys = pictures(1, (3, 140, 32)), keys_of(1)
    expected = REFERENCES[name](across[0].double().numpy(), keys, published(name, 32)[3])
    assert np.abs(corruption(name, 4)(across, keys)[0].numpy() - expected).mean() < 1e-4


@pytest.mark.parametrize("name", ORDERED)
def test_severity_is_monotone(name):
    x, keys = pictures(24, (3, 64, 64)), keys_of(24)
    lost = [float((corruption(name, severity)(x, keys) - x).abs().mean()) for severity in SEVERITIES]
    assert lost == sorted(lost)
    assert len(set(lost)) == 5


@pytest.mark.parametrize("rule", CORRUPTION_RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("name", REFERENCES)
def test_a_corruption_keeps_the_contract(name, rule):
    check_rules(name, (rule,), lambda severity: corruption(name, severity))


@pytest.mark.parametrize("name", REFERENCES)
def test_rows_of_many_cells_are_alone_too(name):
    x, keys, one = pictures(6, (3, 61, 75)), keys_of(6), corruption(name, 3)
    together, order = one(x, keys), [4, 1, 5, 0]
    assert torch.equal(one(x[order], keys.rows(order)), together[order])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Faulty:
    """Darker, spoilt in one way."""

    sentence: ClassVar[str] = "Darker, {value:g} of the light left"
    table: ClassVar[dict] = {32: (0.9, 0.8, 0.7, 0.6, 0.5)}

    severity: int | None = None
    value: float | None = None
    fault: str = ""

    def __call__(self, x, keys):
        dark = x * parameter(self, 32)
        match self.fault:
            case "range":
                return dark * 3
            case "batch":
                return dark * (x.mean() if len(x) else 1)
            case "mild":
                return x if self.severity == 1 else dark
            case "place":
                return x.mul_(parameter(self, 32))
            case "type":
                return dark.double()
        return dark


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("range", "a pixel is"),
        ("batch", "whatever its company"),
        ("mild", "severity 1 changes nothing"),
        ("place", "changed in place"),
        ("type", "images become torch.float64"),
    ],
)
def test_a_rule_that_is_broken_is_named(fault, words):
    with pytest.raises(AssertionError, match=words):
        check_corruption(Faulty(severity=1, fault=fault))


def test_a_sound_corruption_passes():
    check_corruption(Faulty)
    check_corruption("fog")
    check_corruption("frost(severity=1, as_published=True)")


@pytest.mark.parametrize("severity", [1, 5])
def test_noise_on_grey_has_the_stated_deviation_and_no_drift(severity):
    noisy = corruption("gaussian_noise", severity)
    x = torch.full((40, 1, 32, 32), 0.5)
    noise = noisy(x, keys_of(40)) - x
    sigma = parameter(noisy, 32)
    assert float(noise.std()) == pytest.approx(sigma, rel=0.02)
    assert abs(float(noise.mean())) < 4 * sigma / noise.numel() ** 0.5
    assert abs(float((noise[0] * noise[1]).mean())) < 4 * sigma**2 / noise[0].numel() ** 0.5, "rows share their noise"


@pytest.mark.parametrize("rate", [3.0, 60.0, 500.0])
@pytest.mark.parametrize("light", [102 / 255, 0.4011])
def test_photons_have_the_mean_and_variance_of_counts(rate, light):
    x = torch.full((40, 1, 32, 32), light)
    counts = resolve("corruption", "shot_noise")(value=rate)(x * 0.5, keys_of(40)) * rate
    mean, error = rate * light * 0.5, (rate * light * 0.5 / x.numel()) ** 0.5
    assert abs(float(counts.mean()) - mean) < 4 * error
    assert float(counts.var()) == pytest.approx(mean, rel=0.05)


@pytest.mark.parametrize("name", ["impulse_noise", "salt_and_pepper"])
def test_the_stated_share_turns_black_or_white(name):
    x = torch.full((20, 3, 32, 32), 0.5)
    found = resolve("corruption", name)(value=0.1)(x, keys_of(20))
    assert float((found == 0).float().mean()) == pytest.approx(0.05, abs=0.006)
    assert float((found == 1).float().mean()) == pytest.approx(0.05, abs=0.006)
    together = bool(((found == 0.5).sum(dim=1) % 3 == 0).all())
    assert together == (name == "salt_and_pepper")


def test_photons_of_a_row_do_not_depend_on_the_depth_of_another():
    """A batch of 8-bit images draws once, one of any others twice."""
    x, keys = pictures(6) + 5e-7, keys_of(6)  # rounded, as levels may come
    finer = torch.cat([x[:5], x[5:] * 0.9])
    assert torch.equal(poisson(finer, 5000.0, keys)[:5], poisson(x, 5000.0, keys)[:5])


def test_noise_differs_between_conditions():
    x = torch.full((1, 1, 32, 32), 0.5)
    first, second = (corruption("gaussian_noise", 1)(x, keys_of(1, condition)) for condition in ("a", "b"))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("side", [32, 64, 224])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_pixels_are_the_boxes_of_pillow(side, severity):
    x = pictures(1, (1, side, side))
    less = int(side * published("pixelate", side)[severity - 1])
    small = Image.fromarray(x[0, 0].numpy()).resize((less, less), Image.Resampling.BOX)
    expected = np.asarray(small.resize((side, side), Image.Resampling.BOX))
    np.testing.assert_allclose(corruption("pixelate", severity)(x, keys_of(1))[0, 0].numpy(), expected, atol=1e-5)


def test_frost_textures_are_six_and_their_edges_join():
    for scale in (1.0, 0.3, 0.2):
        found = textures(scale)
        assert found.shape == (6, 3, round(512 * scale), round(512 * scale))
        assert 0 <= float(found.min()) < float(found.max()) <= 1
        inner = (found[:, :, 1:] - found[:, :, :-1]).abs().mean()
        assert float((found[:, :, 0] - found[:, :, -1]).abs().mean()) < 2 * float(inner)
    assert len({float(texture.mean()) for texture in textures(1.0)}) == 6


def test_fog_is_rougher_with_less_decay():
    chance = torch.rand(1, 64, 64, generator=torch.Generator()) * 2 - 1
    smooth, rough = (heights(chance, decay) for decay in (3.0, 1.4))
    steps = [float((found[:, 1:] - found[:, :-1]).abs().mean()) for found in (smooth, rough)]
    assert steps[0] < steps[1]


@pytest.mark.parametrize("severity", [0, 6, 2.5, -1, "3"])
@pytest.mark.parametrize("name", REFERENCES)
def test_a_severity_outside_one_to_five_is_refused(name, severity):
    with pytest.raises(InputError, match="`severity` must be 1, 2, 3, 4 or 5; got"):
        corruption(name, severity)


@pytest.mark.parametrize("name", OWN)
def test_a_parameter_of_ones_own_takes_the_place_of_a_severity(name):
    kind, x = resolve("corruption", name), pictures(2)
    theirs = parameter(kind(severity=4), 32)
    assert torch.equal(kind(value=theirs)(x, keys_of(2)), kind(severity=4)(x, keys_of(2)))
    with pytest.raises(InputError, match="either `severity`, from 1 to 5, or `value`"):
        kind(severity=4, value=theirs)
    with pytest.raises(InputError, match="`value` must"):
        kind(value=-1.0)


@pytest.mark.parametrize(
    ("text", "high"), [("jpeg_compression", 96), ("pixelate", 1.5), ("impulse_noise", 1.1), ("salt_and_pepper", 2)]
)
def test_a_parameter_outside_its_range_is_refused(text, high):
    with pytest.raises(InputError, match=r"`value` must lie in \["):
        build("corruption", f"{text}(value={high})")


@pytest.mark.parametrize("name", names("corruption"))
def test_a_corruption_is_built_by_name_and_says_its_parameter(name):
    built = build("corruption", f"{name}(severity=2)")
    assert built.severity == 2
    said = built.sentence.format(value=parameter(built, 32))
    assert said != built.sentence
    assert "{" not in said
