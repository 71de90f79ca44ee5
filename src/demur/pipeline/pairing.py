"""Data as a model's own source says that it reads them: the one place where the two addresses meet."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from demur.adapters.declarations import declared
from demur.data import Source, open_data
from demur.errors import AddressError, InputError, brief
from demur.pictures.decode_rules import Rules, completed
from demur.registry import Address


def open_data_for(model_address: str | None, data_address: str) -> Source:
    """The images at an address, decoded as the source of a model declares where the address says nothing.

    The address of what is opened carries all that was completed: a plan, a guard and other processes need no model to
    read the same images. A set that takes no such options is opened as it is.

    Args:
        model_address: where the model comes from; None where it was given as an object.
        data_address: where the images come from.

    Raises:
        AddressError: one of them leads nowhere.
    """
    return open_data_by(None if model_address is None else declared(model_address).rules, data_address)


def open_data_for_each(model_addresses: Sequence[str], data_address: str) -> Source:
    """The images at an address for models that read them alike.

    Raises:
        InputError: their sources declare different ways, of which the data can have one.
    """
    rules = {text: declared(text).rules for text in model_addresses}
    ways = {text: _with_rules(data_address, each).text for text, each in rules.items()}
    first = next(iter(rules), None)
    for text, way in ways.items():
        if first is not None and way != ways[first]:
            raise InputError(
                f"models that are compared see the same images, and these read them differently: {brief(first)} wants "
                f"{_words(rules[first])}, {brief(text)} {_words(rules[text])}. Say in the address of the data how, by "
                "size, resize, crop, interpolation and colour, or measure each by itself."
            )
    return open_data_by(None if first is None else rules[first], data_address)


def open_data_by(rules: Rules | None, data_address: str) -> Source:
    """The images at an address, decoded by rules where the address says nothing."""
    text = _with_rules(data_address, rules).text
    if rules is not None and text != data_address:
        with suppress(AddressError):  # a set of one shape takes no such options
            return open_data(text)
    return open_data(data_address)


def _with_rules(data_address: str, rules: Rules | None) -> Address:
    address = Address.parse(data_address, "data")
    return address if rules is None else replace(address, options=completed(address.options, rules))


def _words(rules: Rules | None) -> str:
    return "them as they are" if rules is None else rules.sentence
