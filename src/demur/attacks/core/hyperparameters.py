"""What the hyper-parameters of attacks may be."""

from collections.abc import Collection

from demur.errors import InputError, unknown


def check_eps(eps: float, norm: str = "linf", name: str = "eps") -> None:
    """Refuse a size outside (0, 1] for L∞, or not positive and finite for other norms, with the usual slip named."""
    if norm == "linf" and not 0 < eps <= 1:
        hint = f" Did you mean {eps:g}/255?" if eps > 1 else ""
        raise InputError(f"`{name}` must lie in (0, 1], a fraction of the pixel range; got {eps:g}.{hint}")
    if not 0 < eps < float("inf"):
        raise InputError(f"`{name}` must be positive and finite; got {eps:g}.")


def check_count(name: str, count: int) -> None:
    """Refuse fewer than one."""
    if count < 1:
        raise InputError(f"`{name}` must be at least 1; got {count}.")


def check_steps(steps: int) -> None:
    """Refuse fewer than one step."""
    check_count("steps", steps)


def check_above_zero(name: str, value: float | None) -> None:
    """Refuse zero, negative or infinite values; None stands for a default."""
    if value is not None and not 0 < value < float("inf"):
        raise InputError(f"`{name}` must be positive and finite; got {value:g}.")


def check_share(name: str, value: float) -> None:
    """Refuse values outside (0, 1)."""
    if not 0 < value < 1:
        raise InputError(f"`{name}` must lie in (0, 1); got {value:g}.")


def check_norm(norm: str, known: Collection[str] = ("linf", "l2")) -> None:
    """Refuse a norm the attack does not come in."""
    if norm not in known:
        raise unknown("norm", norm, known)


def check_grey_levels(levels: int | None) -> None:
    """Refuse fewer than two grey values; None stands for no rounding."""
    if levels is not None and levels < 2:
        raise InputError(f"`levels` must be at least 2; got {levels}. An 8-bit image has 256.")


def check_at_least_zero(name: str, value: float) -> None:
    """Refuse negative or infinite values."""
    if not 0 <= value < float("inf"):
        raise InputError(f"`{name}` must be at least 0 and finite; got {value:g}.")


def check_external(eps: float | None, norm: str) -> None:
    """Refuse a ball that cannot be; None stands for no ball."""
    check_norm(norm, ("linf", "l2", "l1", "none"))
    if eps is not None and norm == "none":
        raise InputError(f"norm 'none' knows no ball, so `eps` has no meaning; got {eps:g}. Leave one of them out.")
    if eps is not None:
        check_eps(eps, norm)
