"""What holds for every corruption, and for every map of where a model looks."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias

import torch

from demur.attribution import AttributionMap
from demur.classifier import BoundClassifier
from demur.corruptions import Corruption, parameter
from demur.randomness import Keys
from demur.registry import build, name_of, resolve
from demur.shapes import Images, Labels
from demur.testing.rules import check_rules, hooks_on, named
from demur.testing.world import World

At: TypeAlias = Callable[[int], Corruption]
"""The corruption at a severity."""

SHAPES = ((1, 28, 28), (3, 32, 32), (2, 9, 70), (3, 1, 1), (4, 5, 3))
_SEVERITIES = (1, 2, 3, 4, 5)


def _keys(rows: int) -> Keys:
    return Keys.of(0, [str(row) for row in range(rows)], "contract")


def _images(rows: int, shape: tuple[int, int, int]) -> Images:
    """Black, white, and smooth noise in 8 bits."""
    noise = torch.rand(rows, *shape, generator=torch.Generator().manual_seed(1))
    smooth = torch.nn.functional.avg_pool2d(noise, 3, stride=1, padding=1) if min(shape[1:]) > 3 else noise
    images = (smooth * 255).round() / 255
    images[0], images[1] = 0, 1
    return images


def in_range_at_every_shape(at: At) -> None:
    """Pixels stay in [0, 1], of the same shape and type, and the input is left alone, whatever the shape."""
    for shape in SHAPES:
        x = _images(4, shape)
        before = x.clone()
        for severity in (1, 5):
            found = at(severity)(x, _keys(4))
            assert found.shape == x.shape, f"images {shape} become {tuple(found.shape[1:])}"
            assert found.dtype == x.dtype, f"images become {found.dtype}"
            assert found.isfinite().all(), f"a pixel of images {shape} is NaN or infinite"
            assert float(found.min()) >= 0, f"a pixel is {float(found.min())}"
            assert float(found.max()) <= 1, f"a pixel is {float(found.max())}"
        assert torch.equal(x, before), "the images it was given are changed in place"


def rows_alone(at: At) -> None:
    """A row gets the same bytes whatever its company and order, and the same again."""
    for shape in SHAPES[:2]:
        x, keys, one = _images(6, shape), _keys(6), at(3)
        together, order = one(x, keys), [4, 1, 5, 0]
        assert torch.equal(one(x, keys), together), "asked again, the images are others"
        assert torch.equal(one(x[order], keys.rows(order)), together[order]), "rows depend on their order"
        alone = torch.cat([one(x[row : row + 1], keys.rows([row])) for row in order])
        assert torch.equal(alone, together[order]), "rows depend on who shares the batch"


def no_images(at: At) -> None:
    """No images are no images."""
    assert at(3)(torch.zeros(0, 3, 32, 40), _keys(0)).shape == (0, 3, 32, 40)


def changes_at_every_severity(at: At) -> None:
    """Each of the five severities changes the images."""
    x = _images(6, (3, 32, 32))
    for severity in _SEVERITIES:
        assert not torch.equal(at(severity)(x, _keys(6)), x), f"severity {severity} changes nothing"


def says_its_parameter(at: At) -> None:
    """Its table has five parameters for each size, and its sentence, which readers see, tells the parameter."""
    one = at(2)
    assert one.severity == 2
    assert one.table, "`table` is empty"
    assert all(len(row) == 5 for row in one.table.values()), "`table` needs a parameter for each of five severities"
    text = one.sentence.format(value=parameter(one, 32))
    assert text != one.sentence, "`sentence` has no {value}"
    assert "{" not in text


CORRUPTION_RULES: tuple[Callable[[At], None], ...] = (
    in_range_at_every_shape,
    rows_alone,
    no_images,
    changes_at_every_severity,
    says_its_parameter,
)


def check_corruption(corruption: Corruption | type | str) -> None:
    """Hold a corruption to the contract of all corruptions, at its five severities.

    Args:
        corruption: a name such as `"my_fog"`, its class, or a corruption whose other fields are kept.
    """
    called, at = str(corruption), _at(corruption)
    check_rules(called, (_survives_its_name,), at, corruption)
    check_rules(called, CORRUPTION_RULES, at)


def _at(corruption: Corruption | type | str) -> At:
    if isinstance(corruption, str) and "(" not in corruption:
        corruption = resolve("corruption", corruption)
    if isinstance(corruption, type):
        factory: Callable[..., Corruption] = corruption
        return lambda severity: factory(severity=severity)
    thing: Any = build("corruption", corruption) if isinstance(corruption, str) else corruption
    own = {"value": None} if "value" in {field.name for field in dataclasses.fields(thing)} else {}
    return lambda severity: dataclasses.replace(thing, severity=severity, **own)


def _survives_its_name(at: At, corruption: object) -> None:
    """Where it has a name, that name means it."""
    if isinstance(corruption, str):
        one = at(2)
        named("corruption", name_of("corruption", one))


def shows_without_a_trace(map_: AttributionMap, classifier: BoundClassifier, x: Images, classes: Labels) -> None:
    """Maps are finite, not negative, shown for most images, the same twice, and leave the model as it was."""
    with torch.no_grad():
        heat, again = (map_(classifier, x, classes, _keys(len(x))) for _ in range(2))
    assert heat.ndim == 3, f"maps have the shape {tuple(heat.shape)} instead of (rows, height, width)"
    assert heat.shape[0] == len(x)
    assert heat.shape[1] * heat.shape[2] > 1, "a map has a single cell"
    assert heat.dtype == x.dtype, f"maps are {heat.dtype}"
    assert heat.isfinite().all(), "a cell is NaN or infinite"
    assert (heat >= 0).all(), "a cell is negative"
    assert (heat.amax(dim=(1, 2)) > 0).sum() >= 2, "hardly anything is shown"
    assert not heat.requires_grad, "maps hold a graph"
    assert torch.equal(heat, again), "asked again, the maps are others"
    assert hooks_on(classifier.as_module()) == 0, "a hook is left"
    weights = list(classifier.as_module().parameters())
    assert all(weight.requires_grad and weight.grad is None for weight in weights), "a gradient is left"


def maps_of_rows_alone(map_: AttributionMap, classifier: BoundClassifier, x: Images, classes: Labels) -> None:
    """Who shares the batch does not matter."""
    together, keys = map_(classifier, x, classes, _keys(len(x))), _keys(len(x))
    for rows in ([0], [1], [4, 2], [3, 0, 1]):
        part = map_(classifier, x[rows], classes[rows], keys.rows(rows))
        torch.testing.assert_close(part, together[rows], rtol=1e-4, atol=1e-5 * float(together.max()))


def no_more_gradients_than_declared(
    map_: AttributionMap, classifier: BoundClassifier, x: Images, classes: Labels
) -> None:
    """Four images more cost no more forward passes than its `gradients` say."""
    passes: list[int] = []
    handle = classifier.as_module().register_forward_hook(lambda _module, _inputs, out: passes.append(len(out)))
    map_(classifier, x[:2], classes[:2], _keys(2))
    few = sum(passes)
    map_(classifier, x[:6], classes[:6], _keys(6))
    handle.remove()
    more = sum(passes) - 2 * few
    assert more <= 4 * map_.gradients, f"four images more take {more} passes; it declares {map_.gradients} for each"


def map_in_words(map_: AttributionMap, *_: object) -> None:
    """It says in a sentence what it shows."""
    assert map_.sentence.strip(), "`sentence` is empty"
    assert (type(map_).__doc__ or "").strip(), "it has no docstring"


MAP_RULES = (shows_without_a_trace, maps_of_rows_alone, no_more_gradients_than_declared, map_in_words)


def check_map(map_: AttributionMap | str) -> None:
    """Hold a map to the contract of all maps: a name such as `"my_map(n=3)"`, or the map itself."""
    thing, called = named("map", map_)
    world = World(rows=6)
    classes = torch.arange(6) % len(world.classifier.classes)
    check_rules(called, MAP_RULES, thing, world.classifier, world.images, classes)
