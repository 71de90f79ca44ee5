"""The option `?classes=` of an address: names with commas between, `@FILE` with one a line, or `imagenet`."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from demur.class_names.imagenet import NAME, SYNSET, imagenet_names
from demur.errors import AddressError, brief
from demur.registry.regular_files import MIB, content_of, reason


def class_list(text: str) -> tuple[str, ...]:
    """The names that the option means, in their order.

    >>> class_list("cat,dog"), class_list("imagenet")[0]
    (('cat', 'dog'), 'tench')

    Raises:
        AddressError: a file that cannot be read, or has no names.
    """
    if text == NAME:
        return imagenet_names()
    return _names_in(Path(text[1:])) if text.startswith("@") else tuple(text.split(","))


def _names_in(path: Path) -> tuple[str, ...]:
    """One name a line, commas and all; a synset before every name is left out, and doubles are numbered."""
    lines = [" ".join(line.split()) for line in text_in(path).splitlines() if line.strip()]
    parts = [line.partition(" ") for line in lines]
    if lines and all(SYNSET.fullmatch(first) and rest for first, _, rest in parts):
        lines = [rest for _, _, rest in parts]
    if len(lines) < 2:
        raise AddressError(
            f"`classes=@FILE` takes a text file with one class name a line, two at least; {path} has {len(lines)}. "
            "Write every class, in the order of the model's outputs or of the numbers of the labels."
        )
    return numbered_doubles(lines)


def numbered_doubles(names: Sequence[str]) -> tuple[str, ...]:
    """The names, with a number behind those that stand several times.

    >>> numbered_doubles(["crane", "fox", "crane"])
    ('crane (1)', 'fox', 'crane (2)')
    """
    count, place = Counter(names), Counter[str]()
    found = []
    for name in names:
        place[name] += 1
        found.append(name if count[name] == 1 else f"{name} ({place[name]})")
    return tuple(found)


def text_in(path: Path) -> str:
    """The text of a file that the option names.

    Raises:
        AddressError: there is none, or it is no text.
    """
    try:
        return content_of(path, 16 * MIB).decode("utf-8-sig")
    except UnicodeDecodeError:
        why = "it is no text in UTF-8"
    except OSError as error:
        why = reason(error)
    raise AddressError(f"`classes=@FILE` names a text file; {brief(str(path))} cannot be read: {why}. Check the path.")
