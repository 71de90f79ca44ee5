"""Signals in a folder: tensors as safetensors, estimators as skops, everything else as JSON; nothing is pickled."""

import hashlib
import json
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor

from demur.errors import InputError, missing_extra
from demur.files import remove, write_atomically, write_json
from demur.signals import AnySignal
from demur.signals.plain_values import Contents, signal_from_plain, signal_to_plain

FORMAT, VERSION = "demur signals", 1
FILE, TENSORS, ESTIMATORS = "signals.json", "tensors", "estimators"

TRUSTED = (
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
)
"""Types inside estimators that skops does not trust by itself: those of a gradient boosting, an MLP and a forest."""


def save_signals(path: Path | str, signals: Mapping[str, AnySignal]) -> str:
    """Write signals, fitted or not, into a folder by any names, and return the hash of the file that names the rest.

    Loaded again they give the same scores, to the last bit on one machine and build. A reader sees the old signals or
    the new ones. The file of estimators has other bytes each time.

    Raises:
        InputError: a class that has no registered name, or an estimator of a type that is not trusted.
        MissingExtraError: there are estimators and skops is not installed.
        RunError: the folder cannot be written.
    """
    folder, contents = Path(path), Contents()
    plain = {name: signal_to_plain(signal, name, contents) for name, signal in signals.items()}
    files = dict(_kept(folder, contents))
    content = {
        "format": FORMAT,
        "version": VERSION,
        "files": files,
        "scikit_learn": version("scikit-learn") if contents.estimators else None,
        "signals": plain,
    }
    write_json(folder / FILE, content)
    for left in (*folder.glob(f"{TENSORS}-*.safetensors"), *folder.glob(f"{ESTIMATORS}-*.skops")):
        if left.name not in files:
            remove(left)
    return stored_sha256(folder)


def load_signals(path: Path | str) -> dict[str, AnySignal]:
    """The signals of a folder, by their names.

    Raises:
        InputError: a file is missing, damaged, foreign, newer, or has in it what it should not; it is named.
        MissingExtraError: there are estimators and skops is not installed.
    """
    folder = Path(path)
    content = _content(folder)
    contents = Contents(_tensors(folder, content), _estimators(folder, content))
    try:
        found = {name: signal_from_plain(plain, name, contents) for name, plain in content["signals"].items()}
    except InputError as error:
        raise InputError(f"{folder / FILE} cannot be used: {error}") from error
    foreign = {*contents.tensors, *(f"estimator {n}" for n in range(len(contents.estimators)))} - contents.used
    if foreign:
        raise InputError(f"{folder}: no signal has a place for {sorted(foreign)[0]!r}. {_WAY_OUT}")
    return found


def stored_sha256(path: Path | str) -> str:
    """The hash of the file that names the rest of a folder of signals, by hash as well; empty where there is none."""
    file = Path(path) / FILE
    return _sha256(file.read_bytes()) if file.is_file() else ""


_WAY_OUT = "The folder was changed or is damaged: fit and save the signals again."
_KEYS = {"format": str, "version": int, "files": dict, "signals": dict}


def _content(folder: Path) -> Mapping[str, Any]:
    """The file that names the rest, whole and of a version that can be read."""
    path = folder / FILE
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path} does not exist. Signals are kept in a folder, by save_signals(FOLDER, …).") from None
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(f"{path} is not readable JSON ({error}). {_WAY_OUT}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path} holds no signals of demur. Give a folder that save_signals wrote.")
    if content.get("version") != VERSION:
        raise InputError(
            f"{path} is of version {content.get('version')!r}; this demur reads version {VERSION}. Upgrade demur, or "
            "fit and save the signals again."
        )
    for key, kind in _KEYS.items():
        if type(content.get(key)) is not kind:
            raise InputError(f"{path}: `{key}` must be of type {kind.__name__}. {_WAY_OUT}")
    return content


def _kept(folder: Path, contents: Contents) -> dict[str, str]:
    """Write tensors and estimators under names of their own; file name → hash."""
    from safetensors.torch import save

    found = dict[str, str]()
    if contents.tensors:
        found |= _write(folder, TENSORS, "safetensors", save(contents.tensors))
    if contents.estimators:
        skops = _skops()
        dumped = skops.dumps(contents.estimators)
        _refuse_untrusted(skops.get_untrusted_types(data=dumped), "these estimators")
        found |= _write(folder, ESTIMATORS, "skops", dumped)
    return found


def _write(folder: Path, name: str, suffix: str, content: bytes) -> dict[str, str]:
    sha256 = _sha256(content)
    file = f"{name}-{sha256[:16]}.{suffix}"
    write_atomically(folder / file, content)
    return {file: sha256}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _tensors(folder: Path, content: Mapping[str, Any]) -> dict[str, Tensor]:
    from safetensors.torch import load

    return _read(folder, content, TENSORS, load) or {}


def _estimators(folder: Path, content: Mapping[str, Any]) -> list[Any]:
    def load(data: bytes) -> list[Any]:
        skops = _skops()
        _refuse_untrusted(skops.get_untrusted_types(data=data), str(folder))
        found = skops.loads(data, trusted=list(TRUSTED))
        return found if isinstance(found, list) else [found]

    if any(file.startswith(ESTIMATORS) for file in content["files"]) and not _same_scikit_learn(content):
        raise InputError(
            f"{folder}: its estimators were fitted by scikit-learn {content.get('scikit_learn')}, and another version "
            f"may score otherwise. Run pip install scikit-learn=={content.get('scikit_learn')}, or fit them again."
        )
    return _read(folder, content, ESTIMATORS, load) or []


def _same_scikit_learn(content: Mapping[str, Any]) -> bool:
    _skops()
    return content.get("scikit_learn") == version("scikit-learn")


def _read(folder: Path, content: Mapping[str, Any], kind: str, load: Callable[[bytes], Any]) -> Any:
    """What the one file of a kind holds, None where there is none; its bytes must be those that were written."""
    files = [name for name in content["files"] if name.startswith(f"{kind}-") and Path(name).name == name]
    if not files:
        return None
    path = folder / files[0]
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}). {_WAY_OUT}") from None
    if _sha256(data) != content["files"][files[0]]:
        raise InputError(f"{path} is not the file that was saved: its hash differs. {_WAY_OUT}")
    try:
        return load(data)
    except InputError:
        raise
    except Exception as error:  # foreign code may raise anything
        raise InputError(f"{path} cannot be read ({type(error).__name__}: {error}). {_WAY_OUT}") from error


def _refuse_untrusted(types: list[str], where: str) -> None:
    foreign = sorted(set(types) - set(TRUSTED))
    if foreign:
        raise InputError(
            f"{where}: an estimator has in it something of the type {foreign[0]}, which is not trusted, for loading it "
            f"could run any code. Trusted are scikit-learn's own estimators; take one of these."
        )


def _skops() -> Any:
    try:
        import sklearn  # noqa: F401 - its estimators are what skops loads
        import skops.io
    except ImportError:
        raise missing_extra("keeping a detector of errors in a file", "signals") from None
    return skops.io
