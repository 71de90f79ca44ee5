"""What a model shows when it is first asked: how it can be asked, which part of its answer counts, what it lacks."""

import copy
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from demur.classifier.contract import Contract
from demur.classifier.outputs import parts_of
from demur.classifier.preprocessing import Preprocessing
from demur.classifier.validation import fits
from demur.errors import ModelError, unknown
from demur.foreign import place_of
from demur.shapes import Images

T = TypeVar("T")

_SIZES = (1, 2, 3, 4, 8, 16, 32, 64, 100, 128, 256)
"""Batches that are tried on a model that fails on some, to say what it lacks."""


def reason_of(error: BaseException) -> str:
    """The first line of what foreign code raised; where the code of a scripted module is quoted, its last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = lines[-1] if lines and "TorchScript" in lines[0] else lines[0] if lines else type(error).__name__
    return said[:300].rstrip(".")


def eager(module: nn.Module) -> nn.Module:
    """The module that a compiled or parallel one runs, layers inside it alike; weights are shared, none is changed.

    Hooks on layers are not seen by what `torch.compile` made before, nor by the replicas of `DataParallel`. Answers
    differ by rounding.
    """
    inner = _inner(module)
    if inner is not None:
        return eager(inner)
    if isinstance(module, torch.jit.ScriptModule):
        return module
    parts = {name: part if part is None else eager(part) for name, part in module._modules.items()}  # noqa: SLF001 — children() leaves names out
    compiled = _uncompiled(module)
    if compiled is None and all(part is module._modules[name] for name, part in parts.items()):  # noqa: SLF001
        return module
    other = copy.copy(module)  # leaves what nn.Module.compile() added behind
    other.__dict__["_modules"] = parts
    other.__dict__.update(compiled or {})
    return other


def _inner(module: nn.Module) -> nn.Module | None:
    """What a wrapper of torch's runs."""
    if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return module.module
    named = type(module).__name__ == "OptimizedModule"  # its module, torch._dynamo, takes seconds to import
    return module._modules["_orig_mod"] if named else None  # noqa: SLF001 — getattr would ask the module inside


def _uncompiled(module: nn.Module) -> Mapping[str, Any] | None:
    """What replaces a compiled forward; None where it is not compiled."""
    original = getattr(module.forward, "_torchdynamo_orig_callable", None)
    if original is not None:
        bound = original if hasattr(original, "__self__") else original.__get__(module)
        return {"forward": bound}
    return {} if getattr(module, "_compiled_call_impl", None) is not None else None


def first_answer(module: nn.Module, intake: Preprocessing, probe: Images, name: str) -> tuple[object, Preprocessing]:
    """What a module answers to two images, and how it was asked: not with channels last where it refuses these.

    Raises:
        ModelError: it cannot answer them; with the cause, as far as it is known.
    """
    if intake.channels_last:
        try:
            with torch.no_grad():
                return module(intake(probe)), intake
        except Exception:  # noqa: BLE001 — `view` refuses strides that `reshape` would bear; what else it is is seen next
            intake = replace(intake, channels_last=False)
    return answer(module, intake, probe, name), intake


def answer(module: Callable[[Tensor], object], intake: Preprocessing, images: Images, name: str) -> object:
    """What a module answers to some images.

    Raises:
        ModelError: it cannot answer them; with the cause, as far as it is known.
    """
    try:
        with torch.no_grad():
            return module(intake(images))
    except Exception as error:  # foreign code may raise anything
        raise _refusal(module, intake, images, name, error) from error


def _refusal(
    module: Callable[[Tensor], object], intake: Preprocessing, images: Images, name: str, error: Exception
) -> ModelError:
    """Why a module failed on some images: another number of them may do, or none does."""
    said, place, rows = reason_of(error), place_of(error), max(len(images), 2)
    said = f"{said} ({place})" if place else said
    sizes = [size for size in _SIZES if size != rows and _answers(module, intake, images, size)]
    if sizes:
        few = "one image alone" if sizes == [1] else f"batches of {', '.join(map(str, sizes[:4]))}"
        return ModelError(
            f"the model {name} must answer any number of images at once; it answers {few} and failed on {rows}: "
            f"{said}. A number of rows that is written into its forward, or into a trace or an export, does that: "
            "reshape by x.size(0) or x.flatten(1), and trace it with a dynamic number of rows."
        )
    way_out = "Check channels and size, or name the model's own input_shape."
    if isinstance(error, TypeError) and "argument" in said:
        way_out = "Wrap it in a module whose forward takes the images alone."
    shape = tuple(images.shape[1:])
    return ModelError(
        f"the model {name} must read images of shape {shape}; it failed on {_number(rows)} of them: {said}. {way_out}"
    )


def _number(rows: int) -> str:
    return "two" if rows == 2 else str(rows)


def _answers(module: Callable[[Tensor], object], intake: Preprocessing, images: Images, size: int) -> bool:
    """Whether a module answers so many images."""
    try:
        with torch.no_grad():
            given = intake(images[:1].repeat(max(size, 2), 1, 1, 1))[:size]
            raw = module(given)
    except Exception:  # noqa: BLE001 — that it fails is what is asked
        return False
    parts = [raw] if isinstance(raw, Tensor) else list(parts_of(raw).values())
    return any(part.ndim > 0 and len(part) == size for part in parts)


def part_that_counts(raw: object, rows: int, part: str, contract: Contract | None = None) -> str:
    """The name of that part of a first answer which has one column per class; empty where it is one tensor.

    Raises:
        ModelError: there is none, or there are several and none is named.
    """
    if isinstance(raw, Tensor):
        if part:
            raise ModelError(
                f"the model answers with one tensor, and its part {part!r} was named. Leave ':{part}' out of output."
            )
        return ""
    parts = parts_of(raw)
    if part:
        if part not in parts:
            raise ModelError(str(unknown("part of the model's answer", part, parts)))
        return part
    candidates = [name for name, value in parts.items() if fits(value, rows, contract)]
    if len({id(parts[name]) for name in candidates}) == 1:
        return candidates[0]
    raise _not_one(raw, parts, candidates, rows, contract)


def _not_one(
    raw: object, parts: Mapping[str, Tensor], candidates: list[str], rows: int, contract: Contract | None
) -> ModelError:
    kind = type(raw).__name__
    columns_ = "one column per class" if contract is None else f"{len(contract.classes)} classes"
    if candidates:
        names = ", ".join(map(repr, candidates))
        return ModelError(
            f"the model answers with a {kind}, and several of its parts may be the outputs, (rows, classes): {names}. "
            f"Name the one that counts behind what it is: output='logits:{candidates[0]}', in an address "
            f"?output=logits:{candidates[0]}."
        )
    found = ", ".join(
        f"{name} {str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}" for name, value in parts.items()
    )
    return ModelError(
        f"a model answers with one tensor (rows, classes), alone or as a part of a tuple, dict or dataclass; this one "
        f"gave a {kind} with {found or 'no tensor'} for {rows} images and {columns_}. Wrap it in a module whose "
        "forward returns the logits alone; torch.stack makes a tensor of a list of rows, torch.from_numpy of an array."
    )


@contextmanager
def drifting(module: nn.Module) -> Iterator[Collection[str]]:
    """Afterwards the names of the buffers that were changed inside, such as counters of calls."""
    before, changed = {name: buffer.clone() for name, buffer in module.named_buffers()}, set[str]()
    yield changed
    after = dict(module.named_buffers())
    changed.update(name for name, old in before.items() if name not in after or not _same(old, after[name]))


def _same(old: Tensor, new: Tensor) -> bool:
    return old.shape == new.shape and bool(((old == new) | ((old != old) & (new != new))).all())


def gradient_fault(ask: Callable[[Images], Tensor], probe: Images) -> str:
    """Why there is no gradient of a model's answers with respect to the images; empty where there is one."""
    try:
        with torch.enable_grad():
            x = probe.detach().requires_grad_()
            logits = ask(x)
            if not logits.requires_grad:
                return "no gradient. Look for detach(), no_grad() or numpy inside the model's forward"
            torch.autograd.grad(logits.sum(), x)
    except Exception as error:  # noqa: BLE001 — foreign code may raise anything; it is said as the reason
        return f"a gradient that cannot be computed: {reason_of(error)}"
    return ""


def copied(module: nn.Module, name: str) -> nn.Module:
    """A deep copy.

    Raises:
        ModelError: it cannot be copied.
    """
    try:
        with torch.no_grad(), warnings.catch_warnings():  # with gradients, weights of a scripted copy are results
            warnings.simplefilter("ignore")  # what torch says of its own parts
            return copy.deepcopy(module)
    except ModelError:  # of a model that says itself why
        raise
    except Exception as error:  # foreign code may raise anything
        raise ModelError(
            f"the model {name} cannot be copied: {reason_of(error)}. Keep generators, locks, files and tensors that "
            "were computed out of its attributes (remove weight normalisation of the old kind with "
            "torch.nn.utils.remove_weight_norm)."
        ) from error


def derived(
    module: nn.Module, name: str, change: Callable[[nn.Module], nn.Module], bind: Callable[[nn.Module], T]
) -> tuple[T | None, str]:
    """What is made of a copy of a module that was changed, or why there is none."""
    try:
        return bind(change(copied(module, name))), ""
    except Exception as error:  # noqa: BLE001 — foreign code may raise anything; it is said as the reason
        return None, reason_of(error)


def made_up_images(shape: tuple[int, int, int], device: torch.device, dtype: torch.dtype) -> Images:
    """Two fixed noise-like images: multiples of the golden ratio, modulo one."""
    count = 2 * torch.Size(shape).numel()
    values = torch.arange(count, dtype=torch.float64) * 0.6180339887498949 % 1
    return values.view(2, *shape).to(device=device, dtype=dtype)
