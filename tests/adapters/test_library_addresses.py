"""Models of other libraries without these libraries: what is missing is told with its install line."""

import builtins

import pytest

from demur.adapters import load_model
from demur.adapters.declarations import declared
from demur.adapters.library_words import listed, numbered, unavailable
from demur.errors import MissingExtraError


@pytest.mark.parametrize(
    ("address", "extra"),
    [("hf:./folder", "hf"), ("timm:resnet18.a1_in1k", "timm"), ("torchvision:resnet50", "torchvision")],
)
def test_a_library_that_is_missing_is_told_with_its_install_line(address, extra, monkeypatch):
    whole = builtins.__import__

    def without(name, *others):
        if name.partition(".")[0] in {"timm", "torchvision", "transformers"}:
            raise ModuleNotFoundError(name=name)
        return whole(name, *others)

    monkeypatch.setattr(builtins, "__import__", without)
    for ask in (declared, lambda text: load_model(text, classes=("a", "b"), input_shape=(3, 8, 8))):
        with pytest.raises(MissingExtraError, match=rf"pip install 'demur\[{extra}\]'"):
            ask(address)


def test_doubles_are_numbered_and_stay_single():
    assert numbered(["crane", "maillot", "crane", "crane"]) == ("crane (1)", "maillot", "crane (2)", "crane (3)")
    assert listed(None) == "unknown"
    assert "name a file that is here instead: timm:x@FILE" in str(unavailable("them", OSError("gone"), "timm:x"))
