"""Errors of code that is not demur's: of models, data sets and plug-ins.

Whatever it raises, `SystemExit` among it, becomes an error that names the line. Whose error it is follows from the
traceback. Nothing here is on the way of a batch that goes well.
"""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from demur.errors import DemurError, FaultError, ForeignError, ModelError, is_absent_torch

_LIBRARIES = frozenset({
    "altair", "beartype", "captum", "click", "jaxtyping", "jinja2", "joblib", "numpy", "onnx", "onnx2torch", "onnx_ir",
    "onnxruntime", "onnxscript", "PIL", "polars", "pydantic", "pydantic_core", "rich", "safetensors", "scipy",
    "sklearn", "skops", "torch", "typer", "vl_convert",
})  # fmt: skip
"""Packages that demur calls itself: an error in them is of whoever called them."""

_CALLERS = (
    "demur.adapters.",
    "demur.attacks.external.",
    "demur.classifier.",
    "demur.data.memory",
    "demur.zoo.",
)
"""Where demur calls a model, a data set or a function of the user's that may consist of a library's parts alone."""

_LONGEST = 300
"""Characters of an error's own words."""

_OUT_OF_MEMORY = ("not enough memory", "out of memory", "cannot allocate memory", "can't allocate memory")


def is_foreign(error: BaseException) -> bool:
    """Whether code that is not demur's raised it: by the innermost call that is no library's."""
    frames = _frames(error)
    inner = next((at for at in reversed(range(len(frames))) if not _is_library(frames[at])), None)
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).suffix == ".py":
        return True
    if inner is None:
        return False
    name = _module(frames[inner])
    own = name.partition(".")[0] == "demur"
    return not own or (name.startswith(_CALLERS) and inner < len(frames) - 1)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether there was too little memory, of the machine or of an accelerator."""
    words = str(error).lower()
    known = isinstance(error, (RuntimeError, ModelError)) and any(each in words for each in _OUT_OF_MEMORY)
    return known or isinstance(error, MemoryError)


def is_of_the_model(error: BaseException) -> bool:
    """Whether fewer rows may do: what code of others raised, a lack of memory, a broken contract; no interruption."""
    if isinstance(error, (KeyboardInterrupt, DemurError)):
        return isinstance(error, (ModelError, ForeignError))
    return is_out_of_memory(error) or is_foreign(error)


def reason(error: BaseException) -> str:
    """Kind, first line and place of an error, such as `ValueError: no (net.py:12, in forward)`."""
    said = str(error).strip().partition("\n")[0].rstrip(".")[:_LONGEST]
    if isinstance(error, DemurError):
        return said
    what = f"{type(error).__name__}: {said}" if said else type(error).__name__
    place = place_of(error)
    return f"{what} ({place})" if place else what


def place_of(error: BaseException) -> str:
    """File, line and function of the user's own code where an error came from; empty where none took part."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_short(error.filename)}:{error.lineno}"
    frames = [
        frame for frame in _frames(error) if not _is_library(frame) and _module(frame).partition(".")[0] != "demur"
    ]
    own = [frame for frame in frames if "site-packages" not in frame[0].f_code.co_filename] or frames
    if not own:
        return ""
    frame, line = own[-1]
    return f"{_short(frame.f_code.co_filename)}:{line}, in {frame.f_code.co_name}"


def foreign_error(error: BaseException) -> ForeignError:
    """What is said of an error that code of others raised."""
    ending = " It ends the process, which would pass for a finished command." if isinstance(error, SystemExit) else ""
    return ForeignError(
        f"the code of the model, the data or a plug-in failed: {reason(error)}.{ending} Correct it; the same command "
        "then continues."
    )


@contextmanager
def blamed() -> Iterator[None]:
    """What code of others raises inside is an error that names it; an interruption and demur's own errors go on.

    Raises:
        ForeignError: it failed, or called for the end of the process.
    """
    try:
        yield
    except (DemurError, KeyboardInterrupt):
        raise
    except BaseException as error:
        if is_absent_torch(error) or not is_foreign(error):
            raise
        raise foreign_error(error) from error


def fault(error: BaseException, where: object) -> FaultError:
    """What is said of an error that nobody foresaw, the traceback of which is at a place."""
    return FaultError(
        f"an unexpected fault: {reason(error)}. No result of this command is to be used; the traceback is in {where}. "
        "Please report it together with the command."
    )


def traceback_of(error: BaseException) -> str:
    """The whole traceback as text."""
    return "".join(traceback.format_exception(error))


def _frames(error: BaseException) -> list[tuple[FrameType, int]]:
    """Frames and lines from where the error was caught to where it was raised.

    Without those of the import system, and of what raises in place of code of others that would end the process.
    """
    found = [each for each in traceback.walk_tb(error.__traceback__) if "importlib" not in each[0].f_code.co_filename]
    return [each for each in found if _module(each) != "demur.containment"]


def _module(frame: tuple[FrameType, int]) -> str:
    return str(frame[0].f_globals.get("__name__", ""))


def _is_library(frame: tuple[FrameType, int]) -> bool:
    package = _module(frame).partition(".")[0]
    return package in _LIBRARIES or (package in sys.stdlib_module_names and package != "__main__")


def _short(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file
