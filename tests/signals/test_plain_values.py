"""Fields of every declared type, nested in one another, as JSON values and back."""

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from demur.errors import InputError
from demur.signals.estimator_slopes import Estimator
from demur.signals.plain_values import Contents, _fields_from_plain, _fields_to_plain
from demur.signals.softmax_scores import MSP


@dataclass(frozen=True, eq=False)
class Inner:
    bank: Tensor
    name: str | None


@dataclass(frozen=True, eq=False)
class Outer:
    by_layer: dict[str, Tensor]
    edges: dict[str, tuple[Tensor, ...]]
    pair: tuple[Tensor, int]
    models: tuple[Estimator, ...]
    parts: dict[str, Inner]
    rest: Tensor | None
    array: NDArray[np.float64]
    side: Literal["two", "upper"]
    level: float


def outer():
    return Outer(
        by_layer={"conv": torch.rand(3, 2), "wide": torch.rand(4)},
        edges={"conv": (torch.rand(2), torch.rand(5)), "none": ()},
        pair=(torch.rand(1), 7),
        models=(LogisticRegression(C=2.0), LogisticRegression(C=3.0)),
        parts={"a": Inner(torch.rand(2), "x"), "b": Inner(torch.rand(3), None)},
        rest=torch.rand(2, 2).T,
        array=np.arange(4.0),
        side="upper",
        level=math.inf,
    )


def test_what_is_nested_comes_back_from_its_own_place():
    whole, contents = outer(), Contents()
    plain = json.loads(json.dumps(_fields_to_plain(whole, "it", contents)))
    assert set(contents.tensors) == {
        "it.by_layer.conv",
        "it.by_layer.wide",
        "it.edges.conv.0",
        "it.edges.conv.1",
        "it.pair.0",
        "it.parts.a.bank",
        "it.parts.b.bank",
        "it.rest",
        "it.array",
    }
    assert contents.estimators == list(whole.models)
    again = _fields_from_plain(Outer, plain, "it", contents)
    assert list(again.by_layer) == ["conv", "wide"]
    for name, bank in whole.by_layer.items():
        assert torch.equal(again.by_layer[name], bank)
    assert [torch.equal(*each) for each in zip(again.edges["conv"], whole.edges["conv"], strict=True)] == [True, True]
    assert again.edges["none"] == ()
    assert torch.equal(again.pair[0], whole.pair[0])
    assert (again.pair[1], again.side, again.level) == (7, "upper", math.inf)
    assert again.models == whole.models
    assert {key: part.name for key, part in again.parts.items()} == {"a": "x", "b": None}
    assert torch.equal(again.parts["b"].bank, whole.parts["b"].bank)
    assert torch.equal(again.rest, whole.rest)
    assert again.rest.stride() == whole.rest.stride()
    np.testing.assert_array_equal(again.array, whole.array)
    assert contents.used == {*contents.tensors, "estimator 0", "estimator 1"}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("by_layer", {3: torch.rand(2)}, r"it\.by_layer: a key must be of type str; found 3"),
        ("by_layer", {"conv": [1.0]}, r"it\.by_layer\.conv must be a Tensor; found list"),
        ("edges", {"conv": (torch.rand(2), None)}, r"it\.edges\.conv\.1 must be a Tensor; found NoneType"),
        ("pair", (torch.rand(1),), r"it\.pair must be 2 values; found 1"),
        ("pair", (torch.rand(1), 7.5), r"it\.pair\.1 must be of type int; found 7\.5"),
        ("models", (MSP(),), r"it\.models\.0 must be a scikit-learn classifier; found MSP"),
        ("parts", {"a": Inner(torch.rand(2), 3)}, r"it\.parts\.a\.name must be text or null; found 3"),
        ("array", np.array(["a"]), r"it\.array must be an array of numbers; found ndarray"),
        ("side", "lower", r"it\.side must be one of two, upper; found 'lower'"),
        ("level", "high", r"it\.level must be of type float; found 'high'"),
    ],
)
def test_a_value_that_breaks_its_declaration_is_named_by_its_place(field, value, message):
    with pytest.raises(InputError, match=message):
        _fields_to_plain(dataclasses.replace(outer(), **{field: value}), "it", Contents())


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("by_layer", "conv", "tensor"), "it.elsewhere", r"it\.by_layer\.conv must be the tensor 'it\.elsewhere'"),
        (("by_layer",), [], r"it\.by_layer must be of type dict; found \[\]"),
        (("pair",), {}, r"it\.pair must be of type list; found \{\}"),
        (("pair", 1), True, r"it\.pair\.1 must be of type int; found True"),
        (("models", 0, "estimator"), 2, r"it\.models\.0 must be the estimator 2 .*; found 2 of them"),
        (("models", 0, "estimator"), -1, r"it\.models\.0 must be the estimator -1"),
        (("parts", "a", "name"), 3, r"it\.parts\.a\.name must be text or null; found 3"),
        (("rest", "order"), [0, 0], r"it\.rest\.order must be an order of 2 axes"),
        (("rest", "shape"), [4], r"it\.rest: the shape of its tensor must be \[4\]; found \[2, 2\]"),
        (("rest", "dtype"), "torch.int64", r"it\.rest: the dtype of its tensor must be torch\.int64"),
    ],
)
def test_a_place_that_was_changed_is_named(path, value, message):
    contents = Contents()
    plain = json.loads(json.dumps(_fields_to_plain(outer(), "it", contents)))
    place = plain
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(InputError, match=message):
        _fields_from_plain(Outer, plain, "it", contents)
