"""The Open Inference Protocol, in JSON and binary, decides as the guard; what is wrong names its header."""

import json

import numpy as np
import pytest
import torch
from tests.serve.conftest import serving
from tests.serve.pictures import binary, encoded, mixed, outputs, pngs, tensor

IMAGES = mixed(48).numpy()
HEADER = "Inference-Header-Content-Length"
URL = "/v2/models/tiny/infer"
ALL = ["label", "accepted", "reason", "predicted", "predicted_label", "confidence", "scores", "near", "id"]


@pytest.fixture(scope="module")
def expected(loaded):
    return loaded.guard(IMAGES)


def compared(found, expected):
    """Every output is the guard's own, to the last digit of its type."""
    assert found["label"] == [answer or "" for answer in expected.answers]
    assert found["accepted"] == expected.accepted.tolist()
    assert set(found["accepted"]) == {True, False}
    assert found["reason"] == expected.reasons.tolist()
    assert found["predicted"] == expected.predicted.tolist()
    assert found["predicted_label"] == list(expected.labels)
    assert found["confidence"] == expected.confidence.astype(np.float32).tolist()
    assert found["scores"] == expected.scores["msp"].tolist()
    assert found["near"] == expected.near.tolist()


@pytest.mark.parametrize("wanted", [False, True], ids=["json out", "binary out"])
def test_binary_images_are_decided_as_by_the_guard(client, expected, wanted):
    answer = client.post(URL, **binary(IMAGES, parameters={"binary_data_output": wanted}))
    assert answer.status_code == 200, answer.text
    assert (HEADER in answer.headers) is wanted
    head, found = outputs(answer)
    assert [each["name"] for each in head["outputs"]] == ALL
    assert next(each["shape"] for each in head["outputs"] if each["name"] == "scores") == [48, 1]
    compared(found, expected)


@pytest.mark.parametrize("data", [IMAGES.tolist(), IMAGES.ravel().tolist()], ids=["nested", "flat"])
def test_images_in_json_are_decided_as_by_the_guard(client, expected, data):
    answer = client.post(URL, json={"inputs": [{**tensor(IMAGES), "data": data}]})
    compared(outputs(answer)[1], expected)


def test_pictures_in_json_and_binary_are_decided_as_by_the_guard(client, loaded):
    pictures = pngs(48)
    whole = b"".join(len(each).to_bytes(4, "little") + each for each in pictures)
    named = {"name": "pictures", "datatype": "BYTES", "shape": [48]}
    head = json.dumps({"inputs": [{**named, "parameters": {"binary_data_size": len(whole)}}]}).encode()
    packed = client.post(URL, content=head + whole, headers={HEADER: str(len(head))})
    listed = client.post(URL, json={"inputs": [{**named, "shape": [48, 1], "data": encoded(pictures)}]})
    for answer in (packed, listed):
        compared(outputs(answer)[1], loaded.guard.read(pictures))


def test_only_what_is_wanted_comes_back_each_in_its_way(client, loaded):
    wanted = [{"name": "accepted", "parameters": {"binary_data": True}}, {"name": "label"}]
    answer = client.post(URL, **binary(IMAGES[:2], id="mine", outputs=wanted))
    head, found = outputs(answer)
    assert list(found) == ["accepted", "label"]
    assert ["data" in each for each in head["outputs"]] == [False, True]
    assert (head["id"], head["model_name"], head["model_version"]) == ("mine", "tiny", loaded.version)
    assert head["parameters"]["guard_sha256"] == loaded.sha256


def test_an_unreadable_picture_has_null_where_there_is_no_number(client):
    named = {"name": "pictures", "datatype": "BYTES", "shape": [2], "data": [*encoded(pngs(1)), "aGk="]}
    found = outputs(client.post(URL, json={"inputs": [named]}))[1]
    assert found["reason"][1] == "unreadable"
    assert (found["confidence"][1], found["scores"][1], found["predicted"][1]) == (None, None, -1)


def bad(images=IMAGES[:1], **changes):
    """An inference with something changed in its input."""
    return {"json": {"inputs": [{**tensor(images), "data": images.tolist(), **changes}]}}


BODY = binary(IMAGES[:1])
SIZE = int(BODY["headers"][HEADER])
CASES = [
    ({"content": BODY["content"]}, 400, HEADER),
    ({**BODY, "headers": {HEADER: str(SIZE - 1)}}, 400, HEADER),
    ({**BODY, "headers": {HEADER: str(SIZE + 4)}}, 400, HEADER),
    ({**BODY, "headers": {HEADER: "-3"}}, 400, f"{HEADER} must be"),
    ({**BODY, "headers": {HEADER: "many"}}, 400, f"{HEADER} must be"),
    ({**BODY, "headers": {HEADER: "999999"}}, 400, f"{HEADER} must be"),
    ({**BODY, "content": BODY["content"][:-4]}, 400, HEADER),
    ({**BODY, "content": BODY["content"] + b"1234"}, 400, HEADER),
    ({"content": BODY["content"][:SIZE], "headers": {}}, 400, HEADER),
    ({"json": {"inputs": [{**tensor(IMAGES[:1]), "shape": [2, 1, 8, 8], "data": [0.5]}]}}, 422, HEADER),
    ({"json": []}, 422, "JSON object with"),
    ({"json": {}}, 422, "`inputs` has one tensor"),
    ({"json": {"inputs": []}}, 422, "got 0"),
    ({"json": {"inputs": [tensor(IMAGES), tensor(IMAGES)]}}, 422, "got 2"),
    (bad(name="pixels"), 422, "got 'pixels' of 'FP32'"),
    (bad(datatype="FP64"), 422, "got 'images' of 'FP64'"),
    (bad(shape=[1, 1, 8]), 422, "64 numbers|has 8"),
    (bad(shape=[1, 1, 8, -8]), 422, "list of sizes"),
    (bad(shape="1"), 422, "list of sizes"),
    (bad(data=[["a"] * 64]), 422, "no list of numbers"),
    (bad(IMAGES[:1] + 2), 422, "[0, 1]"),
    (bad(IMAGES[:1, :, :7]), 422, "8"),
    (bad(IMAGES[:0]), 422, "one image at the least"),
    (bad(data=["0.5"] * 64), 422, "no list of numbers"),
    (bad(data=[[0.5] * 63, [True]]), 422, "no list of numbers"),
    (bad(data=[True] * 64), 422, "no list of numbers"),
    (bad(data=[], shape=[0, 2**31 - 1, 2**31 - 1, 2**31 - 1]), 422, "list of sizes"),
    (bad(data=[], shape=[2**31 - 1, 2**31 - 1, 2**31 - 1, 0]), 422, "list of sizes"),
    (bad(data=[], shape=[1, 2**31 - 1, 2**31 - 1, 2**31 - 1]), 422, "numbers in `data`; got 0"),
    (binary(np.zeros((0, 1, 8, 8))), 422, "list of sizes"),
    (bad(parameters={"binary_data_size": "many"}), 422, "number of bytes"),
    (bad(parameters=[1]), 422, "are an object"),
    ({"json": {"inputs": [{**tensor(IMAGES[:1])}], "outputs": [{"name": "probs"}]}}, 422, "`data`|no list"),
    ({**binary(IMAGES[:1], outputs=[{"name": "probs"}])}, 422, "unknown output 'probs'. Known: label"),
    ({**binary(IMAGES[:1], outputs="all")}, 422, "list of objects"),
    ({**binary(IMAGES[:1], parameters={"binary_data_output": 1})}, 422, "true or false"),
    ({**binary(np.full((1, 1, 8, 8), np.nan))}, 422, "must be finite"),
    ({**binary(np.full((65, 1, 8, 8), 0.5))}, 413, "at most 64 images; got 65"),
]


@pytest.mark.parametrize(("asked", "status", "words"), CASES, ids=map(str, range(len(CASES))))
def test_what_is_wrong_is_said_in_a_sentence(client, asked, status, words):
    answer = client.post(URL, **asked)
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    assert any(word in answer.json()["error"] for word in words.split("|")), answer.text


def test_elements_of_bytes_must_fill_their_tensor(client):
    named = {"name": "pictures", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 6}}
    head = json.dumps({"inputs": [named]}).encode()
    for whole in (b"\x09\0\0\0hi", b"\x01\0\0\0hi", b"\xff\xff\xff\xffhi"):
        answer = client.post(URL, content=head + whole, headers={HEADER: str(len(head))})
        assert answer.status_code == 422
        assert "its length in 4 bytes" in answer.json()["error"]


def test_the_server_and_its_models_say_what_they_are(client, loaded):
    assert client.get("/v2").json()["extensions"] == ["binary_tensor_data", "model_repository"]
    assert client.get("/v2/health/live").status_code == client.get("/v2/health/ready").status_code == 200
    found = client.get("/v2/models/tiny").json()
    assert found["versions"] == [loaded.sha256[:12]]
    assert found["inputs"][0] == {"name": "images", "datatype": "FP32", "shape": [-1, 1, 8, 8]}
    assert [each["name"] for each in found["outputs"]] == ALL
    assert client.get("/v2/models/tiny/ready").json() == {"name": "tiny", "ready": True}
    assert client.get("/v2/models/other").status_code == client.get("/v2/models/other/ready").status_code == 404


def test_another_version_is_not_answered_for(client, loaded):
    here = f"/v2/models/tiny/versions/{loaded.version}"
    assert client.get(here).json() == client.get("/v2/models/tiny").json()
    assert client.get(f"{here}/ready").status_code == 200
    assert client.post(f"{here}/infer", **binary(IMAGES[:1])).status_code == 200
    answer = client.post("/v2/models/tiny/versions/1/infer", **binary(IMAGES[:1]))
    assert answer.status_code == 404
    assert loaded.version in answer.json()["error"]


def test_requests_that_come_together_are_decided_together_as_alone(loaded, expected):
    """Rows of one request must not get the decisions of another."""
    from concurrent.futures import ThreadPoolExecutor

    with serving(loaded, wait=0.05) as (service, client), ThreadPoolExecutor(12) as pool:
        asked = [binary(IMAGES[start : start + 4]) for start in range(0, 48, 4)]
        answers = list(pool.map(lambda each: client.post(URL, **each), asked))
        found = [outputs(answer)[1] for answer in answers]
        assert max(service.guard().batches.sizes) > 4
    labels = [label for each in found for label in each["predicted"]]
    assert labels == expected.predicted.tolist()
    scores = torch.tensor([score for each in found for score in each["scores"]])
    assert torch.allclose(scores, torch.tensor(expected.scores["msp"]).float(), atol=1e-6)


def test_an_id_may_be_empty_and_is_given_back(client):
    assert client.post(URL, **binary(IMAGES[:1], id="")).json()["id"] == ""


def test_half_a_character_is_refused(client):
    answer = client.post(URL, **binary(IMAGES[:1], parameters={"sequence": "a\ud800"}))
    assert answer.status_code == 422
    assert "`sequence` is a text" in answer.json()["error"]
