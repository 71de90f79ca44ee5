"""A guard in one folder: JSON, safetensors, skops with a list of trusted types; nothing is pickled.

guard.json      policy, tolerances, temperature, how pictures are decoded, where the model is, the card
signals/        the signals, fitted where they had to be
model/          weights or an exported program, where the model is embedded
built_on.safetensors   hashes of the images it was built on; the tune scores
golden/         32 images and what was decided about them
looks.jsonl, .looks/   how often its certify labels were asked; each line has a check of its own
manifest.json   the list of the other files with their hashes; model.sig, its signature, where there is one
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from demur.errors import DemurError, InputError, RunError, legible
from demur.files import write_atomically, write_json
from demur.guard.card import SPLITS, TRAIN, BuiltOn, digests, load_card, plain_card
from demur.guard.file_list import FILE, LEDGER, verify_files, write_file_list
from demur.guard.guard import Guard, check_parts, check_scores
from demur.guard.intake import Intake
from demur.guard.model_files import ModelPlace, read_model
from demur.ledger import Ledger, Line, line_text
from demur.pictures.decode_rules import Rules
from demur.policies import CERTIFIED_POLICIES, CertifiedPolicy, Tolerance, dump_policy, load_policy
from demur.policies.certificate_json import build_stored
from demur.policies.look import Look
from demur.registry.regular_files import MIB, content_of, reason
from demur.signals import Fittable, Needs, Signal
from demur.signals.store import load_signals, save_signals

FORMAT, VERSION = "demur guard", 1
GUARD, SIGNALS, BUILT_ON = "guard.json", "signals", "built_on.safetensors"

_LARGEST = 64 * MIB
_IN_LEDGER = ("runs", "folder", "ledger")
"""Where looks were counted that come along with a guard."""

_SCORES = "tune.scores."
_KEYS = ("card", "decoding", "format", "model", "needs", "policy", "temperature", "tolerances", "version")

Loaded = TypeVar("Loaded")


def write_guard(
    folder: Path,
    guard: Guard,
    *,
    built_on: BuiltOn,
    model: Callable[[Path], ModelPlace],
    looks: Callable[[Ledger], None] | None = None,
    golden: Callable[[Path], None] | None = None,
) -> str:
    """Write a guard into a folder, whole or not at all, and return the hash of its list of files.

    A guard that was there is replaced.

    Args:
        folder: where; made if it is not there.
        guard: what.
        built_on: the images it was built on.
        model: puts what is to be embedded of the model into the folder, and says where it is; see `model_files`.
        looks: writes how often the certify labels were asked into the guard's ledger.
        golden: writes images and their decisions into the folder of the guard.

    Raises:
        InputError: the folder belongs to something else, or the model cannot be stored so.
        RunError: the folder cannot be written.
    """
    check_parts(guard)
    check_place(folder)
    folder = folder.resolve()  # a link stays, and leads to the new one
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as name:
            made = Path(name) / "guard"
            made.mkdir()
            place = model(made)
            if place.embedding == "program":
                check_scores(replace(guard, classifier=read_model(made, place)))
            save_signals(made / SIGNALS, guard.signals)
            write_built_on(made / BUILT_ON, built_on)
            write_json(made / GUARD, _plain(guard, place))
            if golden is not None:
                golden(made)
            if looks is not None:
                looks(Ledger(made / LEDGER))
            sha256 = write_file_list(made)
            _move(made, folder)
    except OSError as error:
        raise RunError(
            f"cannot write {folder}: {error.strerror or error}. Free some space or correct the rights."
        ) from None
    return sha256


def check_place(folder: Path) -> None:
    """Refuse a folder that holds something else than a guard.

    Raises:
        InputError: it does.
    """
    check_outside(folder)
    try:
        taken = folder.exists() and not (folder / GUARD).is_file() and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        raise InputError(
            f"{legible(str(folder))} cannot be used: {error.strerror}. Choose another with --out."
        ) from None
    if taken:
        raise InputError(f"{folder} is there and is no guard, so it is not replaced. Choose another folder with --out.")


def check_outside(path: Path) -> None:
    """Refuse to write into a guard, which has the files it is certified with and no others.

    Raises:
        InputError: a folder above the path is a guard, or the path is none.
    """
    try:
        os.fspath(path).encode()
        above = [each for each in path.resolve().parents if (each / GUARD).is_file() and (each / FILE).is_file()]
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else "its name is not one that a file can have"
        raise InputError(f"{legible(str(path))} cannot be written: {why}. Choose another name.") from None
    if above:
        raise InputError(f"{path} would lie in the guard {above[0]}, which has no files but its own. Choose another.")


def _move(made: Path, folder: Path) -> None:
    """Put a new folder in the place of an old one, which is gone only once the new one is there."""
    old = made.with_name("old")
    if folder.exists():
        folder.rename(old)
    try:
        made.rename(folder)
    except BaseException:  # whatever stopped it, the old one must not go with the folder it waits in
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _plain(guard: Guard, place: ModelPlace) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "card": plain_card(guard.card),
        "decoding": asdict(guard.intake.rules),
        "model": asdict(place),
        "needs": {"features": guard.needs.features, "layers": list(guard.needs.layers)},
        "policy": dump_policy(guard.policy),
        "temperature": guard.temperature,
        "tolerances": {name: asdict(each) for name, each in guard.tolerances.items()},
    }


def read_guard(folder: Path, sha256: str | None = None) -> Guard:
    """The guard in a folder, every file of which must be as it was written.

    Raises:
        InputError: it is no guard, of another version, or a file was changed; it is named.
        ModelError: its model cannot be loaded, or is another one.
    """
    verify_files(folder, sha256)
    content = guard_facts(folder)
    place = model_place(content["model"])
    policy = _policy(folder, content)
    check_ledger(folder)
    guard = Guard(
        classifier=read_model(folder, place),
        signals=_signals(folder),
        policy=policy,
        tolerances={name: Tolerance.load(each) for name, each in content["tolerances"].items()},
        temperature=float(content["temperature"]),
        intake=Intake(rules=_part("decoding", _rules, content["decoding"]), input_shape=place.input_shape),
        card=load_card(content["card"]),
        needs=_part("needs", _needs, content["needs"]),
    )
    check_parts(guard)
    return guard


def _policy(folder: Path, content: Mapping[str, Any]) -> CertifiedPolicy:
    policy = _part("policy", load_policy, content["policy"])
    if not isinstance(policy, CERTIFIED_POLICIES):
        raise InputError(f"{folder / GUARD} has a policy without a certificate. Fit the guard again.")
    return policy


def _signals(folder: Path) -> dict[str, Signal]:
    stored = load_signals(folder / SIGNALS)
    unfitted = [name for name, signal in stored.items() if isinstance(signal, Fittable)]
    if unfitted:
        raise InputError(
            f"{folder / SIGNALS} has the signal {unfitted[0]!r} before it was fitted. Fit the guard again."
        )
    return {name: signal for name, signal in stored.items() if not isinstance(signal, Fittable)}


def guard_facts(folder: Path) -> Mapping[str, Any]:
    """What `guard.json` holds, of a version that can be read.

    Raises:
        InputError: it cannot be read, or is of another kind or version.
    """
    path = folder / GUARD
    try:
        content = json.loads(content_of(path, _LARGEST))
    except (OSError, ValueError, RecursionError) as error:
        why = reason(error) if isinstance(error, OSError | ValueError) else "nested too deeply"
        raise InputError(f"{path} cannot be read: {why}. Fit the guard again.") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path} is not of a guard. Name the folder that `demur guard fit` wrote.")
    if content.get("version") != VERSION:
        raise InputError(
            f"{path} is of version {content.get('version')!r}; this demur reads version {VERSION}. Upgrade demur, or "
            "fit the guard again."
        )
    if tuple(sorted(content)) != _KEYS or not isinstance(content["tolerances"], dict):
        raise InputError(f"{path} must have exactly {', '.join(_KEYS)}; got {', '.join(sorted(content))}.")
    return content


def model_place(stored: object) -> ModelPlace:
    """Where the model of a guard is, from plain values.

    Raises:
        InputError: its fields are not the ones it has.
    """
    return _part("model", _place, stored)


def _place(stored: object) -> ModelPlace:
    place = build_stored("place of a model", ModelPlace, stored)
    channels, height, width = place.input_shape
    return ModelPlace(**{**vars(place), "classes": tuple(place.classes), "input_shape": (channels, height, width)})


def _needs(stored: Any) -> Needs:
    return Needs(features=bool(stored["features"]), layers=tuple(map(str, stored["layers"])))


def _rules(stored: object) -> Rules:
    """Those of a guard fitted by an older demur have fewer fields."""
    whole: Any = {**asdict(Rules()), **stored} if isinstance(stored, Mapping) else stored
    rules = build_stored("rules of decoding", Rules, whole)
    size = None if rules.size is None else _pair(rules.size)
    resize = rules.resize if rules.resize is None or isinstance(rules.resize, int) else _pair(rules.resize)
    return replace(rules, size=size, resize=resize)


def _pair(stored: Sequence[int]) -> tuple[int, int]:
    height, width = stored
    return int(height), int(width)


def _part(what: str, load: Callable[[Any], Loaded], stored: object) -> Loaded:
    """A part of `guard.json`; whatever is wrong with it is said of that part."""
    try:
        return load(stored)
    except DemurError as error:
        raise InputError(f"the {what} of a guard cannot be read: {error}") from error
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise InputError(f"the {what} of a guard cannot be read ({error}). Fit the guard again.") from None


def write_built_on(path: Path, built_on: BuiltOn) -> None:
    """Write which images a guard was built on, and its tune scores."""
    from safetensors.numpy import save

    tensors: dict[str, NDArray[Any]] = {
        f"contents.{split}": digests(each) for split, each in built_on.contents.items() if each
    }
    tensors |= {f"{_SCORES}{name}": np.asarray(each, np.float64) for name, each in built_on.scores.items()}
    tensors["tune.wrong"] = np.asarray(built_on.wrong, np.uint8)
    write_atomically(path, save(tensors))


def read_built_on(folder: Path) -> BuiltOn:
    """Which images a guard was built on, and its tune scores; its files must have been verified.

    Raises:
        InputError: the file is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        found = load((folder / BUILT_ON).read_bytes())
        hashes = {split: found.get(f"contents.{split}", np.empty((0, 32), np.uint8)) for split in (*SPLITS, TRAIN)}
        return BuiltOn(
            contents={split: tuple(bytes(row).hex() for row in rows) for split, rows in hashes.items()},
            scores={key.removeprefix(_SCORES): each for key, each in found.items() if key.startswith(_SCORES)},
            wrong=found["tune.wrong"].astype(bool),
        )
    except (OSError, SafetensorError, LookupError, ValueError) as error:
        raise InputError(f"{folder / BUILT_ON} cannot be read ({error}). Fit the guard again.") from None


def check_ledger(folder: Path) -> Sequence[Line]:
    """The lines of a guard's ledger, each as it was written, with the ids they name.

    Raises:
        InputError: one was changed, or a file of ids was or is not named; or there are fewer looks than the
            certificate counted. Later ones that are gone leave no trace here: against that there is a signature.
    """
    ledger = Ledger(folder / LEDGER)
    try:
        lines = ledger.lines()
        if ledger.path.exists() and ledger.path.read_text("utf-8") != "".join(f"{line_text(line)}\n" for line in lines):
            raise InputError(f"{ledger.path} was changed since it was written. Bring it back, or fit the guard again.")
        named = {line["rows"] for line in lines}
        for name in named:
            ledger.ids(name)  # rows whose ids are gone count as shared with all, which gives nothing away
    except RunError as error:
        raise InputError(str(error)) from error
    strangers = sorted(each.name for each in ledger.folder.glob("*") if each.name not in named and not _waits(each))
    if strangers:
        raise InputError(f"{ledger.folder / strangers[0]} is no file of this guard. Remove it.")
    _check_count(ledger.path, lines, _policy(folder, guard_facts(folder)).certificate.look)
    return lines


def _waits(path: Path) -> bool:
    """Whether a file of ids is there before its line, or half: another process writes it, or was ended in doing so.

    Nothing reads such a file, so it tells nothing.
    """
    return re.fullmatch(r"\.?[0-9a-f]{64}\.ids(\.\w+)?", path.name) is not None and path.is_file()


def _check_count(path: Path, lines: Sequence[Line], look: Look) -> None:
    """Refuse a ledger that has fewer looks than the certificate counted."""
    found = len({each for line in lines for each in line["looks"]})
    if look.counted in _IN_LEDGER and found < look.number:
        raise InputError(
            f"{path} has {found} looks at labels, and the certificate is of look {look.number}: lines of it are "
            "gone. Bring it back, or fit the guard again."
        )
