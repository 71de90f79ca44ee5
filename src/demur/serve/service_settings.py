"""What a server allows, and how it gathers images."""

from dataclasses import dataclass, field

from demur.errors import InputError

MIB = 2**20

SHORTEST_TOKEN = 16
"""Characters of a token: fewer could be guessed."""


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """What a server allows, and how it gathers images.

    Attributes:
        batch: images that the model is asked about at once, at most.
        wait: seconds for which a batch waits for images that are being decoded; an idle server never waits.
        queue: images that may wait or be decided at once, for each guard; what is more is answered with 503.
        images: images in one request.
        bytes: bytes in the body of one request.
        pixels: pixels of all pictures of one request, counted before they are decoded.
        timeout: seconds for the body of a request to arrive, and again for its images to be decided.
        decoders: threads that decode pictures.
        open_bytes: bytes of the bodies of all requests that are not answered yet, together.
        connections: connections at once; those beyond it get a 503, and beyond twice as many are closed.
        hosts: names that it is reached by without a token, in small letters; addresses and localhost always are.
        token: what a client must send as `Authorization: Bearer …`; None where everybody may ask.
    """

    batch: int = 64
    wait: float = 0.002
    queue: int = 1024
    images: int = 64
    bytes: int = 32 * MIB
    pixels: int = 64_000_000
    timeout: float = 10.0
    decoders: int = 2
    open_bytes: int = 256 * MIB
    connections: int = 400
    hosts: tuple[str, ...] = ()
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        _check("batch", self.batch, 1, 64, "A guard asks its model about 64 images at once, at most.")
        _check("wait", self.wait, 0, 1, "Write seconds, such as 0.002.")
        _check("images", self.images, 1, 4096, "Send more in several requests.")
        _check("queue", self.queue, self.images, 1_000_000, f"One request may have {self.images} images already.")
        _check("bytes", self.bytes, 1024, 2**30, "Write bytes, such as 33554432 for 32 MiB.")
        _check("open_bytes", self.open_bytes, self.bytes, 2**40, f"One body may have {self.bytes} bytes already.")
        _check("connections", self.connections, 1, 100_000, "Write connections, such as 400.")
        _check("pixels", self.pixels, 1, 10**10, "Write pixels, such as 64000000.")
        _check("timeout", self.timeout, 0.01, 3600, "Write seconds, such as 10.")
        _check("decoders", self.decoders, 1, 256, "Write threads, such as 2.")
        if self.token is not None and (len(self.token) < SHORTEST_TOKEN or not self.token.isascii()):
            raise InputError(
                f"a token has at least {SHORTEST_TOKEN} ASCII characters; got {len(self.token)}. Make one: "
                "python -c 'import secrets; print(secrets.token_urlsafe(32))'."
            )


def _check(name: str, value: float, low: float, high: float, way_out: str) -> None:
    if not low <= value <= high:
        raise InputError(f"`{name}` of a server must lie from {low:g} to {high:g}; got {value:g}. {way_out}")
