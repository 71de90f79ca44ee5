import pytest

from demur.errors import AddressError
from demur.registry import Address


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("fashion", "data", Address("fashion", "", None, {})),
        ("fashion", "model", Address("fashion", "", None, {})),
        ("parquet:a/b.parquet", "data", Address("parquet", "a/b.parquet", None, {})),
        ("idx:folder?split=train", "data", Address("idx", "folder", None, {"split": "train"})),
        (
            "module:my.nets:resnet@dir/w.safetensors?mean=.1,.2&std=.3,.4",
            "model",
            Address("module", "my.nets:resnet", "dir/w.safetensors", {"mean": ".1,.2", "std": ".3,.4"}),
        ),
        ("zoo:resnet20@w.safetensors?", "model", Address("zoo", "resnet20", "w.safetensors", {})),
        ("zoo:resnet20?a=b=c&d=", "model", Address("zoo", "resnet20", None, {"a": "b=c", "d": ""})),
    ],
)
def test_the_parts_of_an_address(text, kind, expected):
    assert Address.parse(text, kind) == expected


def test_a_bare_path_is_refused_with_the_schemes_it_could_be(tmp_path):
    path = tmp_path / "test.parquet"
    path.touch()
    with pytest.raises(AddressError) as caught:
        Address.parse(str(path), "data")
    assert "is a path" in str(caught.value)
    assert f"parquet:{path}" in str(caught.value)
    assert f"digits:{path}" not in str(caught.value)


def test_an_unknown_scheme_offers_the_nearest():
    with pytest.raises(AddressError, match=r"cannot read the data address 'parket:x'.*Did you mean 'parquet'"):
        Address.parse("parket:x", "data")


def test_an_unknown_bare_name_offers_the_nearest():
    with pytest.raises(AddressError, match="Did you mean 'fashion'"):
        Address.parse("fashoin", "model")


def test_an_option_without_a_value_is_refused():
    with pytest.raises(AddressError, match="cannot read the option 'mean'"):
        Address.parse("zoo:resnet20?mean", "model")


def test_an_option_given_twice_is_refused():
    with pytest.raises(AddressError, match=r"option 'mean' of .* is given twice"):
        Address.parse("zoo:resnet20?mean=1&mean=2", "model")


def test_options_nobody_knows_are_refused():
    address = Address.parse("zoo:resnet20?maen=1", "model")
    with pytest.raises(AddressError, match=r"address zoo:resnet20: unknown option 'maen'. Did you mean 'mean'"):
        address.only(("mean", "std"))
    address.only(("maen",))
