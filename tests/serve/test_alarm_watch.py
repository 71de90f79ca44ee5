"""What is decided reaches the alarms, feedback comes back to them, and whoever must know is told."""

import json
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from tests.serve.conftest import serving
from tests.serve.pictures import encoded, form, mixed, pngs

from demur.alarms import AlarmPlan
from demur.errors import InputError, RunError
from demur.serve.webhook import Webhook

PICTURES = pngs(48)
ALWAYS = AlarmPlan(feedback=1.0)


@pytest.fixture(scope="module")
def asking(loaded):
    with serving(loaded, plan=ALWAYS) as (_, client):
        yield client


def decided(client, **asked):
    return client.post("/predict", **(asked or form(PICTURES))).json()["decisions"]


def test_images_are_observed_and_asked_about(asking):
    before = asking.get("/alarms").json()["images"]
    decisions = decided(asking)
    assert all(each["feedback"] == {"wanted": True, "probability": 1.0} for each in decisions)
    found = asking.get("/alarms").json()
    assert found["images"] == before + 48
    assert found["abstained"] >= sum(not each["accepted"] for each in decisions) > 0
    assert found["guard_sha256"]
    assert found["harm"]["state"] == found["workload"]["state"] == "quiet"
    assert {each["id"] for each in decisions} <= {each["id"] for each in found["pending"]}


def test_feedback_counts_once_and_is_not_contradicted(asking):
    wrong, right = [each for each in decided(asking) if each["accepted"]][:2]
    first = asking.post("/feedback", json={"id": right["id"], "label": right["label"]})
    assert first.status_code == 200, first.text
    assert (first.json()["correct"], first.json()["tested"], first.json()["repeated"]) == (True, True, False)
    assert asking.post("/feedback", json={"id": right["id"], "label": right["label"]}).json()["repeated"] is True
    assert asking.post("/feedback", json={"id": right["id"], "correct": False}).status_code == 409
    assert asking.post("/feedback", json={"id": wrong["id"], "correct": False, "guard": "tiny"}).status_code == 200
    assert right["id"] not in {each["id"] for each in asking.get("/alarms").json()["pending"]}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"id": "nobody", "correct": True}, 404),
        ({"id": "nobody", "correct": True, "guard": "none"}, 404),
        ({"id": "nobody"}, 422),
        ({"correct": True}, 422),
        ({"id": "nobody", "correct": "yes"}, 422),
        ({"id": "x", "colour": "red"}, 422),
        ({"id": "\ud800", "correct": True}, 422),
        ({"id": "x", "label": "a\udfff"}, 422),
        ([], 422),
    ],
)
def test_feedback_that_cannot_be_used_is_said(asking, body, status):
    answer = asking.post("/feedback", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code in ({404, 422} if body == {"id": "nobody"} else {status}), answer.text
    assert answer.json()["error"]


def test_without_feedback_nobody_is_asked(loaded):
    with serving(loaded, plan=AlarmPlan(feedback=0.0)) as (_, client):
        assert {json.dumps(each["feedback"]) for each in decided(client)} == {"null"}
        assert client.get("/alarms", params={"guard": "none"}).status_code == 404


def test_the_state_is_there_after_the_end(loaded, tmp_path):
    for rounds in (1, 2):
        with serving(loaded, plan=ALWAYS, state=tmp_path) as (_, client):
            decided(client)
            assert client.get("/alarms").json()["images"] == 48 * rounds
    assert [path.name for path in tmp_path.glob("*.sqlite")] == [f"tiny-{loaded.version}.sqlite"]


def test_the_frames_of_a_sequence_are_one_unit(loaded):
    with serving(loaded, plan=AlarmPlan(group="sequence", feedback=1.0)) as (_, client):
        decided(client, json={"images": encoded(PICTURES), "sequence": "line 1"})
        decided(client, json={"images": encoded(PICTURES), "sequence": "line 2"})
        found = client.get("/alarms").json()
        assert found["group"] == "sequence"
        assert found["sequences"]["open"] + found["sequences"]["ended"] == 2


class Hook(HTTPServer):
    """Takes messages, and refuses the first ones."""

    def __init__(self, refusals=0):
        HTTPServer.__init__(self, ("127.0.0.1", 0), _Handler)
        self.refusals, self.messages, self.came = refusals, [], threading.Event()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}/alarms"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        refused = self.server.refusals > 0
        self.server.refusals -= 1
        if not refused:
            self.server.messages.append(message)
            self.server.came.set()
        self.send_response(500 if refused else 204)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def hook():
    made = Hook(refusals=2)
    yield made
    made.shutdown()
    made.server_close()


def test_a_webhook_is_told_again_until_it_takes_it(hook):
    notes = []
    webhook = Webhook(hook.address, lambda *note: notes.append(note), pause=0.01)
    webhook.send({"alarm": "workload"})
    assert hook.came.wait(10)
    webhook.close()
    assert hook.messages == [{"alarm": "workload"}]
    assert notes == [("sent", {"tries": 3})]


def test_a_webhook_that_never_answers_is_given_up_and_said():
    notes = []
    webhook = Webhook("http://127.0.0.1:9/none", lambda *note: notes.append(note), pause=0.001)
    webhook.send({"alarm": "harm"})
    webhook.close(10)
    assert [outcome for outcome, _ in notes] == ["failed"]
    assert "refused" in notes[0][1]["reason"]


@pytest.mark.parametrize("address", ["ftp://host/x", "host/x", "http://", "file:///etc/passwd"])
def test_a_webhook_is_an_address_of_http(address):
    with pytest.raises(InputError, match="a webhook is an address"):
        Webhook(address, lambda *_: None)


def test_an_alarm_is_raised_told_once_and_put_back(loaded, hook):
    """Images that are nearly all abstained from: the workload alarm."""
    hook.refusals = 0
    grey = (mixed(48)[24:] * 0.2 + 0.4).numpy()
    body = {"inputs": [{"name": "images", "datatype": "FP32", "shape": [24, 1, 8, 8], "data": grey.ravel().tolist()}]}
    with serving(loaded, plan=AlarmPlan(feedback=0.0), webhook=hook.address) as (service, client):
        for _ in range(20):
            assert client.post("/v2/models/tiny/infer", json=body).status_code == 200
        service.watch.look()
        client.post("/v2/models/tiny/infer", json=body)
        service.watch.look()  # it is still raised, and was told
        assert hook.came.wait(10)
        found = client.get("/alarms").json()
        assert found["workload"]["state"] == "alarm"
        assert found["workload"]["evidence"] >= found["workload"]["threshold"] == 100
        assert 'demur_alarm{alarm="workload",guard="tiny"} 1.0' in client.get("/metrics").text
        assert client.post("/alarms/reset", json={"alarm": "tea", "reason": "x"}).status_code == 422
        assert client.post("/alarms/reset", json={"alarm": "workload"}).status_code == 422
        again = client.post("/alarms/reset", json={"alarm": "workload", "reason": "lamp replaced"})
        assert again.json()["workload"]["state"] == "quiet"
        service.watch.look()
        assert 'demur_alarm{alarm="workload",guard="tiny"} 0.0' in client.get("/metrics").text
        for _ in range(20):
            assert client.post("/v2/models/tiny/infer", json=body).status_code == 200
        service.watch.look()
    assert [each["alarm"] for each in hook.messages] == ["workload", "workload"]
    assert hook.messages[0]["guard_sha256"] == loaded.sha256
    assert hook.messages[0]["sentence"]


def test_alarms_that_cannot_note_an_image_keep_no_answer_back(loaded, monkeypatch):
    with serving(loaded) as (service, client):
        monkeypatch.setattr(service.guard().alarms.alarms, "observe", lambda _: 1 / 0)
        assert client.post("/predict", **form(PICTURES)).status_code == 200
        assert 'demur_alarm_faults_total{guard="tiny"} 1.0' in client.get("/metrics").text


def test_a_request_that_cannot_be_noted_keeps_no_other_from_the_alarms(loaded):
    with serving(loaded) as (service, _):
        served, pairs = service.guard(), []
        for place, rows in enumerate((3, 2, 4)):
            decisions = loaded.guard(mixed(rows))
            first = "\ud800" if place == 1 else place
            tag = (tuple(f"{first}-{row}" for row in range(rows)), None)
            pairs.append((Rows(rows, tag), decisions))
        found = service._observe(served, pairs)
        assert [len(each) for each in found] == [3, 2, 4]
        assert served.alarms.alarms.status().plain["images"] == 7
        assert 'demur_alarm_faults_total{guard="tiny"} 1.0' in service.metrics.text.decode()


class Rows:
    """A request that waits."""

    def __init__(self, rows, tag):
        self.rows, self.tag = rows, tag

    def __len__(self):
        return self.rows


def test_the_watch_goes_on_after_a_disk_that_was_full(loaded, monkeypatch):
    with serving(loaded, plan=ALWAYS) as (service, client):
        alarms, status = service.guard().alarms, service.guard().alarms.alarms.status
        service.watch.close()
        monkeypatch.setattr(alarms.alarms, "status", full)
        decided(client)
        service.watch.look()
        assert client.get("/alarms").status_code == 503
        assert client.get("/alarms").headers["Retry-After"]
        monkeypatch.setattr(alarms.alarms, "feedback", full)
        assert client.post("/feedback", json={"id": "x", "correct": True}).status_code == 503
        monkeypatch.setattr(alarms.alarms, "status", status)
        service.watch.look()
        assert alarms.last.plain["images"] == 48
        assert 'demur_alarm_faults_total{guard="tiny"} 1.0' in client.get("/metrics").text


def full(*_, **__):
    raise RunError("the state cannot be written (disk is full). Make room.")


def test_what_a_question_to_the_alarms_raises_is_told(loaded):
    with serving(loaded, plan=ALWAYS) as (service, client):
        service.watch.look()
        assert service.guard().alarms.fresh is False
        client.get("/alarms")
        assert service.guard().alarms.fresh is True


def test_a_webhook_that_speaks_no_http_is_given_up_and_the_next_message_is_sent(hook):
    hook.refusals = 0
    notes, place, given_up = [], socket.create_server(("127.0.0.1", 0)), threading.Event()

    def note(*said):
        notes.append(said)
        given_up.set()

    threading.Thread(target=babble, args=(place,), daemon=True).start()
    webhook = Webhook(f"http://127.0.0.1:{place.getsockname()[1]}/", note, pause=0.001)
    webhook.send({"alarm": "harm"})
    assert given_up.wait(10)
    webhook._address = hook.address
    webhook.send({"alarm": "workload"})
    webhook.close(10)
    place.close()
    assert [outcome for outcome, _ in notes] == ["failed", "sent"]
    assert "BadStatusLine" in notes[0][1]["reason"]


def babble(place):
    with suppress(OSError):
        while True:
            with place.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(b"tea\r\n\r\n")


@pytest.mark.parametrize(
    ("slow", "ask"),
    [
        ("status", lambda client, _: client.get("/alarms")),
        ("feedback", lambda client, one: client.post("/feedback", json={"id": one["id"], "correct": True})),
        ("reset", lambda client, _: client.post("/alarms/reset", json={"alarm": "harm", "reason": "tried"})),
    ],
    ids=("alarms", "feedback", "reset"),
)
def test_whoever_waits_for_the_disk_keeps_nobody_else_waiting(loaded, monkeypatch, slow, ask):
    with serving(loaded, plan=ALWAYS) as (service, client):
        one = next(each for each in decided(client) if each["accepted"])
        alarms = service.guard().alarms.alarms
        work, begun, on = getattr(alarms, slow), threading.Event(), threading.Event()

        def waiting(*given, **named):
            begun.set()
            assert on.wait(10)
            return work(*given, **named)

        monkeypatch.setattr(alarms, slow, waiting)
        answers = []
        asking = threading.Thread(target=lambda: answers.append(ask(client, one)))
        asking.start()
        assert begun.wait(10)
        lively = []
        other = threading.Thread(target=lambda: lively.append(client.get("/v2/health/live").status_code))
        other.start()
        other.join(5)
        found = list(lively)
        on.set()
        asking.join(10)
        other.join(10)
        assert found == [200]
        assert answers[0].status_code in {200, 422}
