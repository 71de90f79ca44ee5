"""How many images of none of the classes are answered, and what they are taken for."""

import polars as pl

from demur.analysis.quantity import Quantity, Table
from demur.analysis.run_folder import Flags, Run, share


class UnknownPolicy(Table):
    """The share of images of none of the classes that one policy answers."""

    policy: str
    answered: Quantity


class UnknownClass(Table):
    """The share of images of none of the classes that are answered with one class, or would be if all were."""

    name: str
    answered: Quantity
    taken: Quantity


class UnknownAnswers(Table):
    """Images of none of the classes: every answer to one is an error. None of them is in any accuracy or certificate.

    `policy` decides: the certified one, or else the first of the plan; without any every image is answered. `answers`
    of `n` are answered by it, `clean_coverage` is the share of clean test images that are. `unreadable` images are left
    out. Classes come with the most answered first.

    `drawn_from` is how many images there are where all this is of a sample of them, else None. `near_duplicates` were
    found among `near_duplicates_of` images, which do not hang on that sample; these were drawn of
    `near_duplicates_drawn_from`, None where all were compared. `shared_images` is of all.
    """

    address: str
    n: int
    drawn_from: int | None = None
    unreadable: int
    policy: str | None
    certified: bool
    answers: int
    answered: Quantity
    clean_coverage: Quantity
    policies: tuple[UnknownPolicy, ...]
    classes: tuple[UnknownClass, ...]
    near_duplicates: int | None
    near_duplicates_of: int | None = None
    near_duplicates_drawn_from: int | None = None
    shared_classes: tuple[str, ...]
    shared_images: int


def unknown_answers(run: Run) -> UnknownAnswers | None:
    """What becomes of images of none of the classes; None where the plan has none."""
    facts = run.facts.get("unknown")
    if facts is None:
        return None
    rows, test = run.rows("unknown"), run.rows("clean", "test")
    name = run.chosen_policy
    given, clean = _accepted(run, name, rows), _accepted(run, name, test)
    every = run.planned("unknown")
    seen = every if run.sample is None else len(run.sample.tables["unknown"])
    return UnknownAnswers(
        address=facts["address"],
        n=len(rows),
        drawn_from=every if seen < every else None,
        unreadable=seen - len(rows) - len(run.failures("unknown")),
        policy=name,
        certified=run.guard is not None,
        answers=int(given.sum()),
        answered=share(given, rows),
        clean_coverage=share(clean, test),
        policies=tuple(
            UnknownPolicy(policy=each, answered=share(_accepted(run, each, rows), rows)) for each in run.policies
        ),
        classes=_classes(run, rows, given),
        **_near_duplicates(run),
        shared_classes=tuple(facts["shared_classes"]),
        shared_images=facts["shared_images"],
    )


def _near_duplicates(run: Run) -> dict[str, int | None]:
    """How many are near-duplicates of audited images, and of how many that is; None where nobody looked for them."""
    found = (run.optional_facts("near_duplicates") or {}).get("unknown")
    if found is None:
        return {"near_duplicates": None}
    of, every = found["of"], found.get("drawn_from") or 0
    return {
        "near_duplicates": found["images"],
        "near_duplicates_of": of,
        "near_duplicates_drawn_from": every if of < every else None,
    }


def _accepted(run: Run, policy: str | None, rows: pl.DataFrame) -> Flags:
    """Which rows a policy answers; all without one."""
    return rows["predicted"].is_not_null().to_numpy() if policy is None else run.accepts(run.policies[policy], rows)


def _classes(run: Run, rows: pl.DataFrame, given: Flags) -> tuple[UnknownClass, ...]:
    """Every class that any of the images is taken for; intervals hold for all of them at once."""
    predicted = rows["predicted"].to_numpy()
    taken = [k for k in range(len(run.classes)) if (predicted == k).any()]
    found = (
        UnknownClass(
            name=run.classes[k],
            answered=share(given & (predicted == k), rows, len(taken)),
            taken=share(predicted == k, rows, len(taken)),
        )
        for k in taken
    )
    return tuple(sorted(found, key=lambda row: (-row.answered.value, -row.taken.value)))
