"""What a guard was made from, what its certificate says and what voids it: its card."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.errors import InputError
from demur.policies.certificate_json import build_stored
from demur.policies.policy import Flags, Floats

SPLITS = ("fit", "tune", "certify")
"""The splits that a guard is built on."""

TRAIN = "train"
"""Beside the splits, the images that the model has learned from, as far as they are known."""


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """The certified policy counted on images that had no part in it.

    `answered` of `images` were answered and `wrong` of these wrong; `risk` is (value, low, high) of the share of wrong
    answers with its 95 % interval, `unit` what counts as independent in it. `verdict` is holds, broken or undecided, or
    None where too few were answered to judge.
    """

    images: int
    answered: int
    wrong: int
    risk: tuple[float | None, float | None, float | None]
    unit: str
    verdict: str | None


@dataclass(frozen=True, kw_only=True)
class Card:
    """Where a guard comes from.

    Attributes:
        name: how the model is called.
        data: the address of the images it was fitted and certified on.
        data_sha256: their hash.
        plan_sha256: hash of the plan of the audit it was made by.
        demur: the version that made it.
        created: when, ISO 8601 in UTC.
        rows: how many images each split had.
        class_mix: class → how many certify images were of it.
        statement: what was to be guaranteed, as a plan names it; "guard" where that is not known.
        signals: name → what each signal is, in one sentence, and its `unit`.
        chosen: how the signal was chosen.
        void_when: what voids the certificate, in words.
        confirmation: the policy on images that had no part in it; None where there were none.
        expires: the last day on which it answers, ISO 8601; None where it has none.
    """

    name: str
    data: str
    data_sha256: str
    plan_sha256: str
    demur: str
    created: str
    rows: Mapping[str, int]
    class_mix: Mapping[str, int]
    statement: str
    signals: Mapping[str, Mapping[str, str]]
    chosen: str
    void_when: tuple[str, ...]
    confirmation: Confirmation | None = None
    expires: str | None = None

    def __post_init__(self) -> None:
        if self.expires is not None:  # in one notation, since days are compared as text
            object.__setattr__(self, "expires", check_day(self.expires))


def check_day(text: str) -> str:
    """A day as it is stored.

    Raises:
        InputError: it is none.
    """
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise InputError(f"`expires` is a day such as 2027-06-30; got {text!r}.") from None


def check_ahead(text: str | None) -> None:
    """Refuse a last day that is over, since nothing would ever be answered.

    Raises:
        InputError: it is over, or is no day.
    """
    today = datetime.now(UTC).date().isoformat()
    if text is not None and check_day(text) < today:
        raise InputError(f"`expires` is the last day on which the guard answers; {text} is over. Name a later day.")


def plain_card(card: Card) -> dict[str, Any]:
    """A card as JSON values."""
    return asdict(card)


def load_card(stored: object) -> Card:
    """The card that `plain_card` wrote.

    Raises:
        InputError: its fields are not the ones it has.
    """
    if not isinstance(stored, Mapping):
        raise InputError(f"the card of a guard is an object; got {stored!r:.80}.")
    confirmation, void = stored.get("confirmation"), stored.get("void_when")
    parts = {
        "confirmation": None if confirmation is None else build_stored("confirmation", Confirmation, confirmation),
        "void_when": tuple(void) if isinstance(void, Sequence) and not isinstance(void, str) else (),
    }
    return build_stored("card of a guard", Card, {**stored, **parts})


@dataclass(frozen=True, kw_only=True, eq=False)
class BuiltOn:
    """The images a guard was built on, so that they can be left out where it is judged, and what places thresholds.

    Attributes:
        contents: split, or `TRAIN` → SHA-256 of each image's decoded pixels, as hexadecimal text.
        scores: of the tune images, (rows,), by each signal of the policy.
        wrong: whether the model's answer to each of them is wrong, (rows,).
    """

    contents: Mapping[str, tuple[str, ...]]
    scores: Mapping[str, Floats] = field(default_factory=dict)
    wrong: Flags = field(default_factory=lambda: np.empty(0, bool))

    @property
    def every(self) -> frozenset[str]:
        """The contents of all of them."""
        return frozenset(content for contents in self.contents.values() for content in contents)


def digests(contents: Sequence[str]) -> NDArray[np.uint8]:
    """Hashes in hexadecimal as bytes, (rows, 32)."""
    return np.frombuffer(b"".join(bytes.fromhex(each) for each in contents), np.uint8).reshape(len(contents), -1)
