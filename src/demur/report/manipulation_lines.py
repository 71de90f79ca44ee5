"""What is known of deliberate changes, in sentences for the first screen."""

import math
from collections.abc import Sequence

from demur.analysis.quantity import Quantity
from demur.analysis.results import Results
from demur.analysis.robustness.manipulation import Manipulation
from demur.analysis.robustness.proven_answers import NORM, ProvenSize
from demur.analysis.verdict.masking import Masking
from demur.report.guard_attack_lines import AWARE, guard_attack_sentence
from demur.report.phrases import DASH, count, frequency, percent, size_of, spread_words


def _no_attack_sentence(results: Results) -> str:
    """What a search along one direction says where no attack was run, or why what was run says nothing."""
    if void := results.void("attacks"):
        return f"Not known: the attack {void}."
    for search in results.epsilon:
        median = search.median
        if median.value > 0 and "value" not in median.above:
            size = (
                f"±{percent(median.value)} per pixel" if search.norm == "linf" else size_of(median.value, search.norm)
            )
            return f"No attack was run; along one direction {size} flips half the answers."
    return "Not measured: no attack was run."


def is_judged(results: Results) -> bool:
    """Whether there is a guarantee, and untouched images on which to see whether it is kept."""
    return results.guarantee is not None and results.guarantee.test_n > 0


def manipulations(results: Results, found: Manipulation | None) -> tuple[str, ...]:
    """What is known of deliberate changes, a sentence each; of the guard what is found and proven.

    What was found by an attacker who knows the guard is told in any case: in the bracket of found and proven where the
    same images were so attacked, and before it where others or fewer were.
    """
    guard, guarded = _proof_of_guard(results, found), guard_attack_sentence(results)
    lead = () if found is None else (_median_sentence(found),)
    if guard is not None:
        aimed = (guarded,) if guarded is not None and not guard.knew_guard else ()
        return (*lead, *aimed, _bracket(guard))
    if guarded is not None:
        return (*lead, guarded, *_nothing_proven(results))
    said = _manipulation(found, guaranteed=is_judged(results)) if found else (_no_attack_sentence(results),)
    return (*said, *_nothing_proven(results))


def manipulation_line(results: Results, found: Manipulation | None) -> str:
    """The same on one line, after the mask where there is one."""
    guard, guarded = _proof_of_guard(results, found), guard_attack_sentence(results)
    if guard is not None and guarded is not None and not guard.knew_guard:
        line = f"{guarded} {_proven_short(guard)}"
    elif found is not None and guard is not None:
        line = _bracket_short(found, guard)
    else:
        plain = _manipulation_short(found, guaranteed=is_judged(results)) if found else _no_attack_sentence(results)
        line = " ".join([guarded or plain, *_nothing_proven(results)])
    return f"{_mask_short(results.masking)} {line}" if results.masking else line


def _proof_of_guard(results: Results, found: Manipulation | None) -> ProvenSize | None:
    """What is found and proven of the guard, at the size of the attacks; None where nothing is, or none were run.

    None too where those who found it were aimed at the guard, and the checks of that failed.
    """
    if results.proof is None or found is None:
        return None
    ends = results.proof.bracket(found.eps if found.norm == NORM else None)
    return None if ends is not None and ends.knew_guard and results.void("the guard under attack") else ends


def _bracket(guard: ProvenSize) -> str:
    """Answered and wrong: found at least, with the attackers, and proven at most."""
    found, most = guard.accepted_wrong_found, guard.accepted_wrong_proven
    assert found is not None
    assert most is not None
    named = f" ({_listed(guard.attackers)})" if guard.attackers and not guard.knew_guard else ""
    bound = _with_interval(most) if most.value < 1 else f"{_short(most.value)} (nothing is proven)"
    return (
        f"Answered and wrong, of {count(found.n)} images changed by up to {_change(guard.eps, NORM)}: found "
        f"{_with_interval(found)} {_who(guard)}{named}; proven at most {bound}, whoever attacks."
    )


def _bracket_short(attacked: Manipulation, guard: ProvenSize) -> str:
    found, most = guard.accepted_wrong_found, guard.accepted_wrong_proven
    assert found is not None
    assert most is not None
    shares = f"found {_short(found.value)} {_who(guard)}, proven at most {_short(most.value)}"
    size, flips = _short(guard.eps), attacked.median_distance.value
    if math.isnan(flips) or attacked.norm != NORM:
        return f"At ±{size} per pixel, answered and wrong: {shares}."
    return f"±{_short(flips)} per pixel flips half the answers; at ±{size}, answered and wrong: {shares}."


def _proven_short(guard: ProvenSize) -> str:
    """What is proven of other images than those whose guard was attacked."""
    most = guard.accepted_wrong_proven
    assert most is not None
    return f"Proven, of {count(most.n)} at ±{_short(guard.eps)}: at most {_short(most.value)}."


def _who(guard: ProvenSize) -> str:
    """What those knew who found it."""
    if guard.knew_guard:
        return AWARE
    return "by attackers who did not know the guard" if guard.attackers else "with no attack run"


def _nothing_proven(results: Results) -> tuple[str, ...]:
    reason = None if results.proof is None else results.proof.reason
    return () if reason is None else (f"Nothing is proven: no bound is known for {reason}.",)


def _with_interval(found: Quantity) -> str:
    between = spread_words(found, share=True)
    return _short(found.value) + (f" ({between})" if between else "")


def _short(value: float) -> str:
    return percent(value).replace(".0 %", " %")


_MASKED = "Looks robust: it is masked."


def mask_line(found: Masking | None) -> str | None:
    """That a model looks robust and is not, with the numbers; None where nothing speaks for it."""
    if found is None:
        return None
    if found.stood is None or found.eps is None or found.norm is None:
        return f"{_MASKED} {found.evidence}."
    behind = _listed([f"{count(row.count)} to {row.attack}" for row in found.breaches])
    return (
        f"{_MASKED} {count(found.stood)} of {count(found.of)} images stand against {_change(found.eps, found.norm)} by "
        f"the usual attack, through the softmax in single precision, and {count(found.grey or 0)} where every image "
        f"could be turned grey. Of the {count(found.stood)}, {count(found.exposed or 0)} fall: {behind}."
    )


def _mask_short(found: Masking) -> str:
    if found.stood is None:
        return f"{_MASKED} {found.evidence}."
    return (
        f"{_MASKED} Through the softmax {count(found.stood)} of {count(found.of)} stand, "
        f"{count(found.grey or 0)} where "
        f"all could be turned grey; {count(found.exposed or 0)} fall otherwise."
    )


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _manipulation(found: Manipulation, *, guaranteed: bool) -> tuple[str, ...]:
    return tuple(said for said in (_median_sentence(found), _attack_sentence(found, guaranteed=guaranteed)) if said)


def _manipulation_short(found: Manipulation, *, guaranteed: bool) -> str:
    """Both findings on one line; the long one where half of the answers never flipped."""
    if math.isnan(found.median_distance.value) or found.norm != "linf":
        return _manipulation(found, guaranteed=guaranteed)[-1]
    if found.eps is None or found.robust_accuracy is None:
        return _median_sentence(found)
    flips, given = map(_short, (found.median_distance.value, found.eps))
    wrong = found.wrong_answers if guaranteed and found.wrong_answers is not None else None
    end = (
        f"{frequency(1 - found.robust_accuracy.value)} end wrong"
        if wrong is None
        else f"{count(wrong)} of {count(found.attacked_samples)} are answered wrong"
    )
    return f"±{flips} per pixel flips half the answers; at ±{given} {end}."


def _median_sentence(found: Manipulation) -> str:
    distance = found.median_distance
    if math.isnan(distance.value):
        return f"Change that flips the answer: {DASH} ({distance.reason or 'not defined here'})."
    return f"Half of the answers flip under {_change(distance.value, found.norm)} or less."


def _attack_sentence(found: Manipulation, *, guaranteed: bool) -> str | None:
    """The result of an attack of a stated size; None where none was run."""
    if found.eps is None or found.robust_accuracy is None:
        return None
    lead = f"Of {count(found.attacked_samples)} images changed by up to {_change(found.eps, found.norm)}, "
    if found.wrong_answers is None or not guaranteed:
        return lead + f"{frequency(1 - found.robust_accuracy.value)} end wrong."
    return lead + f"{count(found.wrong_answers)} are answered and wrong."


def _change(size: float, norm: str) -> str:
    if norm.lower() not in {"linf", "l∞", "inf"}:
        return f"{size:.3g} ({norm})"
    return f"±{_short(size)} per pixel"
