"""The card of a guard in words and in Markdown: what it promises, on what, and what voids it."""

from collections.abc import Iterator, Mapping

from demur.guard.card import Confirmation
from demur.guard.guard import Guard
from demur.policies.certificate import CertifiedPair
from demur.policies.decision import Bounded
from demur.policies.policy import reason_for

HASHES = (
    "Hashes inside the folder find an accident, not someone who rewrites files and list: check a signature "
    "(demur guard verify --key), or load with the hash of the list."
)


def guard_words(guard: Guard, sha256: str) -> Iterator[str]:
    """The certificate and what it rests on, a sentence a line."""
    card = guard.card
    yield f"Guard of {card.name} ({guard.sha256[:16]}…), made {card.created} by demur {card.demur} from {card.data}."
    if guard.expired:
        yield f"Its last day was {card.expires}: it abstains on every image."
    yield guard.policy.certificate.sentence
    yield f"{_rule(guard)} it abstains ({_reasons(guard)})."
    yield f"Signal: {card.chosen}."
    yield f"Confidence is the softmax probability at temperature {guard.temperature:.4g}, fitted on tune images."
    yield confirmation_words(card.confirmation)
    yield f"Certify images by class: {_mix(card.class_mix)}."
    yield f"Void when: {'; '.join(card.void_when)}{_end(guard)}."
    yield f"SHA-256 of the list of files: {sha256}"


def _rule(guard: Guard) -> str:
    """When it does not answer; a single threshold was said in the sentence of the certificate."""
    if isinstance(guard.policy, Bounded):
        return "Otherwise"
    return f"Where the {guard.policy.signals[0]} is above the threshold of its site, or no site is given,"


def _condition(guard: Guard) -> str:
    """When it answers."""
    if isinstance(guard.policy, Bounded):
        return " and ".join(f"{name} is at most {bound:.4g}" for name, bound in guard.policy.bounds.items())
    return f"{guard.policy.signals[0]} is at most the threshold of the image's site"


def _reasons(guard: Guard) -> str:
    if isinstance(guard.policy, CertifiedPair):
        return f"{reason_for(guard.policy.signal)}, {guard.policy.second.reason}"
    return ", ".join(reason_for(name) for name in guard.policy.signals)


def confirmation_words(found: Confirmation | None) -> str:
    """What images that had no part in it say of the guard."""
    if found is None:
        return "No images were left to confirm it on."
    value, low, high = found.risk
    share = (
        ""
        if value is None or low is None or high is None
        else (f": {100 * value:.2g} in 100 (95 %: {100 * low:.2g} to {100 * high:.2g})")
    )
    state = {"holds": "holds", "broken": "is broken", "undecided": "can neither be confirmed nor refuted"}
    judged = f" The guarantee {state[found.verdict]} there." if found.verdict else ""
    return (
        f"On {found.images:,} {found.unit}s that had no part in it, it answered {found.answered:,}, of which "
        f"{found.wrong:,} were wrong{share}.{judged}"
    )


def _mix(mix: Mapping[str, int], most: int = 12) -> str:
    listed = [f"{name} {count:,}" for name, count in mix.items()]
    more = f", and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def _end(guard: Guard) -> str:
    if guard.card.expires is None:
        return ""
    return f"; after {guard.card.expires}" + (", which is over: it abstains on every image" if guard.expired else "")


def guard_markdown(guard: Guard, sha256: str) -> str:
    """A card to put beside a model."""
    card, certificate = guard.card, guard.policy.certificate
    rows = [
        ("Model", f"{card.name}, SHA-256 `{guard.sha256}`"),
        ("Data", f"`{card.data}`, SHA-256 `{card.data_sha256}`"),
        ("Guarantee", certificate.sentence),
        ("Rule", f"answers where {_condition(guard)}"),
        ("Signal", card.chosen),
        ("Unit", f"one {certificate.unit}"),
        ("Images", ", ".join(f"{split} {count:,}" for split, count in card.rows.items())),
        ("Classes among certify images", _mix(card.class_mix)),
        ("Confirmation", confirmation_words(card.confirmation)),
        ("Confidence", f"softmax at temperature {guard.temperature:.4g}, fitted on tune images"),
        ("Void when", "; ".join(card.void_when) + _end(guard)),
        ("List of files", f"SHA-256 `{sha256}`"),
    ]
    table = "\n".join(f"| {name} | {_cell(text)} |" for name, text in rows)
    return f"# Guard of {card.name}\n\n| | |\n| --- | --- |\n{table}\n\n{HASHES}\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
