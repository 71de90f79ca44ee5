"""Who may ask, what stands in the log, the end of a server, faults, and what takes too long."""

import io
import json
import threading

import pytest
from tests.serve.conftest import serving
from tests.serve.pictures import form, pngs

from demur.errors import InputError
from demur.serve import ServiceSettings
from demur.serve.service_log import ServiceLog

PICTURES = pngs(8)
TOKEN = "a token that nobody guesses"


def test_with_a_token_all_but_health_and_the_page_wants_it(loaded):
    with serving(loaded, token=TOKEN) as (_, client):
        for path in ("/v2", "/guards", "/metrics", "/openapi.json", "/alarms", "/v2/models/tiny", "/nowhere"):
            answer = client.get(path)
            assert answer.status_code == 401, path
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert "Authorization: Bearer TOKEN" in answer.json()["error"]
        assert client.post("/predict", **form(PICTURES)).status_code == 401
        assert client.get("/v2/health/live").status_code == client.get("/v2/health/ready").status_code == 200
        assert client.get("/").status_code != 401
        for wrong in (f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer", TOKEN, "Bearer \xff"):
            headers = {"Authorization": wrong.encode("latin-1")}
            assert client.get("/guards", headers=headers).status_code == 401, wrong
        for right in (f"Bearer {TOKEN}", f"bearer  {TOKEN}"):
            assert client.get("/guards", headers={"Authorization": right}).status_code == 200


@pytest.mark.parametrize("token", ["short", "ein geheimes Wört für alle"])
def test_a_token_that_could_be_guessed_is_refused(token):
    with pytest.raises(InputError, match="at least 16 ASCII characters"):
        ServiceSettings(token=token)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch", 0),
        ("batch", 65),
        ("queue", 3),
        ("timeout", 0),
        ("bytes", 1),
        ("pixels", 0),
        ("wait", -1),
        ("images", 0),
    ],
)
def test_settings_out_of_range_are_named(name, value):
    with pytest.raises(InputError, match=f"`{name}` of a server must lie"):
        ServiceSettings(**{name: value})


def test_a_page_of_another_site_may_not_ask_through_a_browser(client):
    assert client.get("/guards", headers={"Origin": "https://other.example"}).status_code == 403
    assert client.get("/guards", headers={"Origin": "http://127.0.0.1"}).status_code == 200
    for odd in ("http://[", "null", "127.0.0.1"):
        assert client.get("/guards", headers={"Origin": odd}).status_code == 403


def test_every_answer_has_an_id_and_is_not_kept(client):
    for path in ("/guards", "/nowhere", "/v2/health/live"):
        headers = client.get(path).headers
        assert headers["X-Request-ID"]
        assert (headers["Cache-Control"], headers["X-Content-Type-Options"]) == ("no-store", "nosniff")


def test_the_log_has_a_line_of_json_for_each_request(loaded):
    stream = io.StringIO()
    with serving(loaded, log=ServiceLog(stream)) as (_, client):
        request = client.post("/predict", **form([*PICTURES, b"none"])).json()
        client.get("/guards/other")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    first, second = (line for line in lines if line["event"] == "request")
    abstained = [each["reason"] for each in request["decisions"] if not each["accepted"]]
    assert first["request"] == request["request"]
    assert first["guard_sha256"] == loaded.sha256
    assert (first["route"], first["status"], first["images"]) == ("/predict", 200, 9)
    assert first["answered"] == 9 - len(abstained)
    assert first["abstained"] == {reason: abstained.count(reason) for reason in abstained}
    assert first["ms"] > 0
    assert (second["route"], second["status"]) == ("/guards/{name}", 404)
    assert "unknown guard 'other'" in second["error"]


def test_while_it_ends_new_requests_get_a_503_and_their_connections_are_closed(loaded):
    with serving(loaded) as (service, client):
        service.draining = True
        answer = client.post("/predict", **form(PICTURES))
        assert answer.status_code == 503
        assert (answer.headers["Retry-After"], answer.headers["Connection"]) == ("1", "close")
        assert client.get("/v2/health/ready").status_code == 503
        assert client.get("/v2/health/live").status_code == 200


@pytest.fixture
def broken(loaded, monkeypatch):
    """A server whose model breaks, and its log."""
    stream = io.StringIO()
    with serving(loaded, log=ServiceLog(stream), timeout=0.3) as (service, client):
        yield service, client, stream


def breaking(service, monkeypatch, work):
    monkeypatch.setattr(service.guard().batches, "_decide", work)


def test_a_fault_of_the_model_is_a_500_with_a_sentence_and_a_traceback_in_the_log(broken, monkeypatch):
    service, client, stream = broken

    def fail(*_):
        raise RuntimeError("the weights are gone")

    breaking(service, monkeypatch, fail)
    answer = client.post("/predict", **form(PICTURES))
    assert answer.status_code == 500
    assert "RuntimeError: the weights are gone" in answer.json()["error"]
    (fault,) = (line for line in map(json.loads, stream.getvalue().splitlines()) if line["event"] == "fault")
    assert "in fail" in fault["traceback"]
    assert fault["request"] == answer.headers["X-Request-ID"]


def test_what_is_not_decided_in_time_is_a_503(broken, monkeypatch):
    service, client, _ = broken
    over = threading.Event()
    breaking(service, monkeypatch, lambda *_: over.wait(20))
    answer = client.post("/predict", **form(PICTURES))
    over.set()
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert "within 0.3 seconds" in answer.json()["error"]


def test_a_body_that_does_not_come_is_a_408(loaded):
    from asyncio import run, sleep

    from demur.serve import Service, app_of

    service = Service([loaded], ServiceSettings(timeout=0.05))
    said = []

    async def receive():
        await sleep(5)

    async def send(message):
        said.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/predict", "raw_path": b"/predict", "query_string": b"",
        "headers": [(b"content-type", b"application/json")], "root_path": "", "scheme": "http", "http_version": "1.1",
    }  # fmt: skip
    run(app_of(service)(scope, receive, send))
    service.close()
    assert said[0]["status"] == 408
    assert (b"connection", b"close") in said[0]["headers"]
    assert "did not arrive within 0.05 seconds" in said[1]["body"].decode()


def test_a_log_that_cannot_be_written_stops_nothing():
    class Full(io.StringIO):
        def write(self, _):
            raise OSError("no space")

    log = ServiceLog(Full())
    log.write("one")
    log.write("two")
