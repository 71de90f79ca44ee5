"""What an attacker knew: of the model, by the traits that the audit wrote of an attack, and of the guard."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

Knowledge: TypeAlias = Literal[
    "knew the whole model", "saw its answers alone", "saw the answered class alone", "drew at random"
]


def knowledge_of(facts: Mapping[str, Any]) -> Knowledge:
    """What one attack knew; earlier versions did not say which is a control or follows no gradient outside a ball."""
    if facts.get("control"):
        return "drew at random"
    if facts.get("label_only"):
        return "saw the answered class alone"
    return "saw its answers alone" if facts.get("gradient_free") or facts.get("blind") else "knew the whole model"


GuardKnowledge: TypeAlias = Literal["the model, not the guard", "the model and the guard", "answers and scores alone"]

_OF_THE_GUARD: Mapping[str, GuardKnowledge] = {
    "minimal": "the model, not the guard",
    "confident": "the model, not the guard",
    "joint": "the model and the guard",
    "score_free": "answers and scores alone",
}


def guard_knowledge(attacker: str) -> GuardKnowledge:
    """What one attacker of a guard knew; attacks of the plan never know it."""
    return _OF_THE_GUARD[attacker]
