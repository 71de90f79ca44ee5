"""A thousand malformed uploads: every one is a 4xx with a sentence, and the server goes on."""

import base64
import json
import random

from tests.serve.conftest import serving
from tests.serve.pictures import binary, form, mixed, pngs

PNG = pngs(1)[0]
KINDS = ("multipart/form-data; boundary=b", "multipart/form-data", "application/json", "text/plain", "image/png", "")
INFER = "/v2/models/tiny/infer"


def multipart(content, *, end=True, name="images"):
    head = f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="a.png"\r\n\r\n'.encode()
    return head + content + (b"\r\n--b--\r\n" if end else b"")


def spoilt(rng, content):
    """The same cut, with bits turned, or bytes put in, so that its head is no longer that of a picture."""
    cut = rng.randrange(len(content))
    return rng.choice(
        [
            content[: min(cut, 40)],
            bytes(rng.randrange(256) for _ in range(rng.randrange(60))),
            b"\x89PNG\r\n\x1a\n" + bytes(rng.randrange(256) for _ in range(cut % 50)),
            content[8:],
            b"",
        ]
    )


def uploads(rng):
    """Endlessly, what may be wrong with a request: address, body, headers."""
    whole = binary(mixed(1))
    (header,) = whole["headers"]
    length = int(whole["headers"][header])
    while True:
        noise = bytes(rng.randrange(256) for _ in range(rng.randrange(200)))
        yield "/predict", multipart(spoilt(rng, PNG)), {"Content-Type": KINDS[0]}
        yield "/predict", multipart(PNG, end=False)[: rng.randrange(1, 90)], {"Content-Type": KINDS[0]}
        yield "/predict", multipart(PNG, name=rng.choice(["image", "", "Images", "x\x00"])), {"Content-Type": KINDS[0]}
        yield "/predict", noise, {"Content-Type": rng.choice(KINDS)}
        yield "/predict", multipart(PNG), {"Content-Type": rng.choice(KINDS[1:])}
        images = rng.choice([[], ["="], [1], None, {}, "x", [base64.b64encode(noise[:20]).decode()], [[]], [None]])
        yield "/predict", json.dumps({"images": images}).encode(), {"Content-Type": KINDS[2]}
        text = json.dumps({"images": [base64.b64encode(PNG).decode()]}).encode()
        yield "/predict", text[: rng.randrange(len(text))], {"Content-Type": KINDS[2]}
        yield (
            INFER,
            whole["content"],
            {header: rng.choice(["0", "-1", "1e3", str(length - 1), str(length + 1), "9" * 30])},
        )
        yield INFER, whole["content"][: rng.randrange(len(whole["content"]))], whole["headers"]
        yield INFER, noise, rng.choice([{}, {header: str(rng.randrange(len(noise) + 1))}])
        place = rng.randrange(length)
        damaged = bytearray(whole["content"])
        damaged[place] = rng.choice(b'[]{}":,x\x00\xff')
        if bytes(damaged) != whole["content"] and rng.random() < 0.5:
            yield INFER, bytes(damaged).replace(b'"images"', b'"image"'), whole["headers"]


def test_a_thousand_malformed_uploads_are_refused_with_a_sentence(loaded):
    rng = random.Random(21)
    with serving(loaded) as (_, client):
        for (path, content, headers), _ in zip(uploads(rng), range(1000), strict=False):
            answer = client.post(path, content=content, headers=headers)
            assert 400 <= answer.status_code < 500, (path, content[:200], headers, answer.text)
            assert list(answer.json()) == ["error"], answer.text
            assert len(answer.json()["error"]) > 20
        assert client.post("/predict", **form([PNG])).status_code == 200
        assert 'demur_queue_images{guard="tiny"} 0.0' in client.get("/metrics").text
