"""Files of Keras, looked at before Keras reads them: what layers they name, and of which version they are."""

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demur.adapters.archive_members import check_file, members_of
from demur.errors import AddressError, ModelError, brief, missing_extra
from demur.foreign import reason
from demur.registry.regular_files import MIB

_LARGEST_CONFIG = 64 * MIB

_OWN_CODE = (
    "Build the model in Python and name the function that does it, module:PKG.MOD:FACTORY, or give the model to "
    "demur.audit as a module"
)


@dataclass(frozen=True, kw_only=True)
class KerasFile:
    """A model of Keras in a file.

    Attributes:
        path: of the file.
        config: the layers it names, as JSON.
        version: of the Keras that wrote it; empty where it does not say.
    """

    path: Path
    config: str
    version: str

    @classmethod
    def read(cls, path: Path) -> "KerasFile":
        """What a file says of itself; nothing of it is run.

        Raises:
            AddressError: there is no such file.
            ModelError: it is of another kind, or names code of its own.
        """
        if path.is_dir():
            raise ModelError(
                f"{path} is a folder, such as TensorFlow's SavedModel, and Keras 3 makes no model with gradients of "
                f"one. {_CONVERSION}"
            )
        check_file(path, "model of Keras")
        match path.suffix.lower():
            case ".keras":
                found = _read_archive(path)
            case ".h5" | ".hdf5":
                found = _read_hdf5(path)
            case _:
                raise AddressError(
                    f"keras: names a file that ends in .keras or .h5; got {str(path)!r}. Save the model as such: "
                    "model.save('model.keras')."
                )
        _check(found)
        return found


_CONVERSION = (
    "Convert it once. Where it was made: open('model.json', 'w').write(model.to_json()); "
    "model.save_weights('model.weights.h5'). Then in Keras 3: model = "
    "keras.models.model_from_json(open('model.json').read()); model.load_weights('model.weights.h5'); "
    "model.save('model.keras'). Where layers changed their arguments since, build the same layers in Keras 3 and load "
    "the weights into these."
)


def unreadable(file: KerasFile, error: BaseException) -> ModelError:
    """Why Keras 3 could not read a file that names nothing but layers of Keras."""
    said = brief(reason(error))
    if file.version.startswith(("1.", "2.")):
        return ModelError(
            f"{file.path} was saved by Keras {file.version}, and Keras 3 cannot read it: {said}. {_CONVERSION}"
        )
    by = f" (saved by Keras {file.version})" if file.version else ""
    return ModelError(
        f"Keras cannot read {file.path}{by}: {said}. Save the model again, with the Keras that is used here."
    )


def _read_archive(path: Path) -> KerasFile:
    names = {member.filename for member in members_of(path, "model of Keras 3")}
    if not {"config.json", "metadata.json"} <= names:
        raise ModelError(f"{path} is an archive and no model of Keras: it has no config.json. Save the model again.")
    with zipfile.ZipFile(path) as archive:
        config, metadata = (_text(archive, name, path) for name in ("config.json", "metadata.json"))
    return KerasFile(path=path, config=config, version=str(_parsed(metadata, path).get("keras_version", "")))


def _text(archive: zipfile.ZipFile, name: str, path: Path) -> str:
    if archive.getinfo(name).file_size > _LARGEST_CONFIG:
        raise ModelError(f"{path} has a {name} larger than {_LARGEST_CONFIG:,} bytes. Save the model alone.")
    return archive.read(name).decode("utf-8", "replace")


def _read_hdf5(path: Path) -> KerasFile:
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise missing_extra("a keras: address", "keras") from error
    try:
        with h5py.File(path, "r") as file:
            told = {
                name: _decoded(file.attrs[name]) for name in ("model_config", "keras_version") if name in file.attrs
            }
    except OSError as error:
        raise ModelError(f"{path} is no HDF5 file, or is damaged: {reason(error)}. Save the model again.") from None
    if "model_config" not in told:
        raise ModelError(
            f"{path} has weights and no layers. Save the whole model: model.save('model.keras'), not "
            "model.save_weights(…)."
        )
    return KerasFile(path=path, config=told["model_config"], version=told.get("keras_version", ""))


def _decoded(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _parsed(text: str, path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ModelError(f"{path} does not say in JSON which layers it has, so it is damaged. Save the model again.")
    return found


def _check(file: KerasFile) -> None:
    """Refuse layers whose code lies in the file, and those that are not Keras's own.

    Raises:
        ModelError: there is such a one.
    """
    for entry in _entries(_parsed(file.config, file.path)):
        name, module = str(entry.get("class_name")), entry.get("module")
        if name in {"Lambda", "__lambda__"}:
            raise ModelError(
                f"{file.path} has a Lambda layer, whose code lies in the file and would be run. Put a layer of Keras "
                f"in its place, such as Rescaling, Resizing or Activation, and save it again. {_OWN_CODE}."
            )
        if module is not None and not (str(module) == "builtins" or f"{module}.".startswith("keras.")):
            raise ModelError(
                f"{file.path} has {brief(name)!r} of {brief(str(module))!r}, and an address runs no code of yours. "
                f"{_OWN_CODE}."
            )


def _entries(config: object) -> Iterator[Mapping[str, Any]]:
    """Everything in a configuration that names a class."""
    waiting = [config]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            if "class_name" in found:
                yield found
            waiting.extend(found.values())
        elif isinstance(found, list):
            waiting.extend(found)
