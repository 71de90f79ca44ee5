"""`POST /predict` decides as the guard itself, says why it abstains, and names what is wrong with a request."""

import base64
import json

import pytest
import torch
from tests.serve.conftest import serving
from tests.serve.pictures import bomb, encoded, form, pngs

PICTURES = pngs(48)


def said(client, **asked):
    answer = client.post("/predict", **asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


def compared(found, guard, pictures):
    """The answer of the server is that of the guard, to the last digit."""
    expected = guard.read(pictures)
    for row, (one, other) in enumerate(zip(found["decisions"], expected, strict=True)):
        assert one["label"] == other.answer
        assert one["predicted"] == other.label
        assert one["accepted"] is other.accepted
        assert (one["reason"] or "") == other.reason
        assert one["confidence"] == other.confidence
        assert one["scores"] == other.scores
        assert one["near"] is other.near
        assert one["thresholds"] == {"msp": guard.policy.certificate.threshold}
        shares = [each["probability"] for each in one["probabilities"]]
        assert shares == sorted(expected.probabilities[row].tolist(), reverse=True)
        assert shares[0] == pytest.approx(one["confidence"], rel=1e-12)
        assert one["probabilities"][0]["class"] == one["predicted"]


def test_a_form_is_decided_as_by_the_guard(client, loaded):
    found = said(client, **form(PICTURES))
    compared(found, loaded.guard, PICTURES)
    assert found["guard"] == {"name": "tiny", "sha256": loaded.sha256}
    assert [each["name"] for each in found["decisions"]] == [f"{place}.png" for place in range(48)]
    assert {each["accepted"] for each in found["decisions"]} == {True, False}
    reasons = {each["reason"] for each in found["decisions"]}
    assert reasons == {None, "low_confidence"}


def test_json_is_decided_as_by_the_guard(client, loaded):
    listed = encoded(PICTURES)
    listed[1] = f"data:image/png;base64,{listed[1]}"
    found = said(client, json={"images": listed, "guard": "tiny", "sequence": "line 1"})
    compared(found, loaded.guard, PICTURES)


def test_every_decision_has_an_id_of_its_own_and_every_request_one(client):
    first, second = (said(client, **form(PICTURES[:3])) for _ in range(2))
    assert len({each["id"] for found in (first, second) for each in found["decisions"]}) == 6
    assert first["request"] != second["request"]
    answer = client.post("/predict", **form(PICTURES[:1]), headers={"X-Request-ID": "mine-1"})
    assert answer.json()["request"] == answer.headers["X-Request-ID"] == "mine-1"
    odd = client.post("/predict", **form(PICTURES[:1]), headers={"X-Request-ID": "a b"})
    assert odd.headers["X-Request-ID"] != "a b"


def test_one_that_cannot_be_read_is_abstained_from_beside_others(client):
    found = said(client, **form([PICTURES[0], b"no picture"]))["decisions"]
    assert found[0]["reason"] != "unreadable"
    assert (found[1]["reason"], found[1]["accepted"], found[1]["label"]) == ("unreadable", False, None)
    assert found[1]["confidence"] is None
    assert found[1]["probabilities"] == []
    assert "cannot decode" in found[1]["detail"]


CASES = [
    ({"json": {"images": []}}, 422, "one image at the least"),
    ({"json": {"images": ["%%%"]}}, 422, "picture 1 is no base64"),
    ({"json": {"images": "one"}}, 422, "is a list of pictures"),
    ({"json": [1]}, 422, "is a JSON object; got list"),
    ({"json": {"image": []}}, 422, "unknown key 'image'"),
    ({"json": {"images": ["aGk="], "site": 3}}, 422, "`site` is a text"),
    ({"json": {"images": ["aGk="]}}, 422, "not one picture can be read"),
    ({"json": {"images": ["aGk="], "guard": "tinny"}}, 404, "Did you mean 'tiny'?"),
    ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 400, "is no JSON"),
    ({"content": b'{"images":' + b"[" * 100_000, "headers": {"Content-Type": "application/json"}}, 400, "JSON"),
    ({"content": b"{}", "headers": {"Content-Type": "text/plain"}}, 415, "curl -F images=@a.png"),
    ({"content": b"{}"}, 415, "multipart/form-data"),
    ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400, "says its boundary"),
    ({"content": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}, 400, "cannot be read"),
    ({"content": b"--b\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}, 400, "form"),
    ({"files": [("picture", ("a.png", b"x"))]}, 422, "unknown field 'picture'"),
    ({**form([b"x"], guard="")}, 422, "not one picture can be read"),
    ({"content": b"{}", "headers": {"Content-Type": "application/json", "Content-Encoding": "gzip"}}, 415, "gzip"),
]


@pytest.mark.parametrize(("asked", "status", "words"), CASES, ids=[words for _, _, words in CASES])
def test_what_is_wrong_is_said_in_a_sentence(client, asked, status, words):
    answer = client.post("/predict", **asked)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert words in answer.json()["error"]


def test_another_method_and_address_are_sentences_too(client):
    assert client.get("/predict").status_code == 405
    assert "GET is not for this address" in client.get("/predict").json()["error"]
    assert client.get("/predikt").status_code == 404
    assert "/openapi.json" in client.get("/predikt").json()["error"]


def test_limits_of_bytes_images_and_pixels(loaded):
    with serving(loaded, bytes=20_000, images=3, pixels=1000, queue=4) as (_, client):
        for asked, words in (
            (form([bytes(30_000)]), "at most 20,000 bytes"),
            (form(PICTURES[:4]), "at most 3 images; got 4"),
            (form(PICTURES[:7]), "at most 6 parts"),
            (form([bomb(400)]), "at most 1,000 pixels together, and with number 1"),
        ):
            answer = client.post("/predict", **asked)
            assert answer.status_code == 413
            assert words in answer.json()["error"]
        assert client.post("/predict", **form(PICTURES[:3])).status_code == 200


def test_a_bomb_is_refused_before_it_is_decoded(client):
    answer = client.post("/predict", **form([bomb(9000)]))
    assert answer.status_code == 413
    assert "pixels" in answer.json()["error"]


def test_probabilities_are_a_softmax_at_the_temperature_of_the_guard(loaded):
    made = loaded.guard.read(PICTURES)
    logits = loaded.guard.classifier(loaded.guard.intake.batch(PICTURES)[0]).detach().double()
    expected = torch.softmax(logits / loaded.guard.temperature, dim=1)
    assert torch.allclose(torch.from_numpy(made.probabilities), expected, rtol=1e-9)
    part = made.part(3, 7)
    assert list(part) == [made[row] for row in range(3, 7)]
    assert (part.probabilities == made.probabilities[3:7]).all()


def test_the_body_of_openapi_is_what_is_read(client):
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/predict", "/v2/models/{name}/infer", "/guards", "/alarms", "/feedback", "/metrics"} <= set(paths)
    content = paths["/predict"]["post"]["requestBody"]["content"]
    assert set(content) == {"multipart/form-data", "application/json"}
    assert json.loads(json.dumps(content)) == content
    assert base64.b64decode(encoded(PICTURES[:1])[0]) == PICTURES[0]


def test_guards_say_what_they_guarantee_and_how_tune_images_scored(client, loaded):
    assert client.get("/guards").json() == [
        {"name": "tiny", "sha256": loaded.sha256, "classes": ["disc", "bar", "cross"], "default": True}
    ]
    found = client.get("/guards/tiny").json()
    assert found["signals"] == {
        "msp": {"says": "One minus.", "unit": "probability", "threshold": loaded.guard.policy.certificate.threshold}
    }
    assert found["guarantee"]["sentence"] == loaded.guard.policy.certificate.sentence
    assert found["guarantee"]["void_when"] == ["the model changes"]
    assert found["limits"] == {"bytes": 32 * 2**20, "pixels": 64_000_000, "images": 64}
    histogram = found["calibration"]["msp"]
    assert sum(histogram["counts"]) == histogram["n"] == 300
    assert len(histogram["edges"]) == len(histogram["counts"]) + 1
    assert client.get("/guards/none").status_code == 404
