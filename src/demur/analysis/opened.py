"""How often the labels were opened, and whether the gates stood before that."""

from collections.abc import Sequence
from pathlib import Path

from demur.analysis.results import Opened
from demur.openings import Opening, openings


def opened(run: Path) -> Opened | None:
    """What the run folder knows of openings; None where nothing was noted, as in runs of earlier versions."""
    known = openings(run)
    if not known:
        return None
    certify, test = ([entry for entry in known if entry["role"] == role] for role in ("certify", "test"))
    plans, models = (len({entry[f"{name}_sha256"] for entry in known}) for name in ("plan", "model"))
    return Opened(
        certify=len(certify),
        test=len(test),
        first_certify=certify[0]["at"] if certify else None,
        first_test=test[0]["at"] if test else None,
        plans=plans,
        models=models,
        sentence=_sentence(test, plans, models, known),
        changed=_changed(test),
    )


def _sentence(test: Sequence[Opening], plans: int, models: int, known: Sequence[Opening]) -> str:
    if not test:
        return "Test labels not opened yet"
    first = test[0]["at"][:16].replace("T", " ")
    alone = "; other runs on the same images could not be counted" if known[-1]["scope"] == "run" else ""
    return (
        f"Test opened {_plural(len(test), 'time')}, under {_plural(plans, 'plan')} and for {_plural(models, 'model')}, "
        f"first on {first} UTC{alone} (another limit of the same data is counted apart)"
    )


def _changed(test: Sequence[Opening]) -> tuple[str, ...]:
    """How today's gates differ from the last ones before they were written, if the test labels were open by then."""
    if not test:
        return ()
    now = test[-1]["gates"]
    written = next(at for at, entry in enumerate(test) if entry["gates"] == now)
    if written == 0:
        return ()
    before = test[written - 1]["gates"]
    return tuple(
        f"{key}: {now.get(key, 'dropped')}, {f'was {before[key]}' if key in before else 'not asked before'}"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    )


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
