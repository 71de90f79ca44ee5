"""What is known of one request on its way: its id, what it asked, what was decided; a line of the log at its end."""

import re
import secrets
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from demur.guard import Decisions

_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
KEY = "demur.visit"
"""Where an ASGI scope has it."""


@dataclass(kw_only=True)
class Visit:
    """One request.

    Attributes:
        id: of the header X-Request-ID where that can be one, else drawn.
        began: by the clock that only goes forward.
        status: of the answer; 499 where the client had gone.
        guard: the name of the guard that was asked.
        sha256: the hash of its files.
        images: how many images were decided.
        answered: how many of them were answered.
        reasons: why the others were not: code → how many.
        error: what was wrong with the request.
        body_bytes: bytes of its body that are in memory.
    """

    id: str
    began: float = field(default_factory=time.perf_counter)
    status: int = 499
    guard: str | None = None
    sha256: str | None = None
    images: int = 0
    answered: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    error: str | None = None
    body_bytes: int = 0

    @classmethod
    def of(cls, headers: list[tuple[bytes, bytes]]) -> "Visit":
        """A new one."""
        given = next((value for name, value in headers if name == b"x-request-id"), b"")
        return cls(id=given.decode("ascii") if _ID.fullmatch(given) else secrets.token_hex(8))

    @property
    def seconds(self) -> float:
        """How long it has been here."""
        return time.perf_counter() - self.began

    def asking(self, guard: str, sha256: str) -> None:
        """It asks a guard."""
        self.guard, self.sha256 = guard, sha256

    def decided(self, decisions: Decisions) -> None:
        """Its images were decided."""
        accepted = int(decisions.accepted.sum())
        self.images += len(decisions)
        self.answered += accepted
        if accepted < len(decisions):
            self.reasons.update(reason for reason in decisions.reasons.tolist() if reason)

    def line(self, route: str, method: str) -> dict[str, Any]:
        """What the log says of it."""
        asked = {
            "guard": self.guard, "guard_sha256": self.sha256, "images": self.images, "answered": self.answered,
            "abstained": dict(self.reasons),
        }  # fmt: skip
        return {
            "request": self.id,
            "method": method,
            "route": route,
            "status": self.status,
            "ms": round(1000 * self.seconds, 3),
            **(asked if self.guard is not None else {}),
            **({"error": self.error} if self.error else {}),
        }
