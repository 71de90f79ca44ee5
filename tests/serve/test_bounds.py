"""What a connection, a head and all bodies together may take, before anybody has shown a token."""

import asyncio
import io
import json
import threading
from functools import partial

import pytest
import uvicorn
from PIL import Image
from tests.serve.pictures import form, mixed, pngs, tensor
from uvicorn.server import ServerState

from demur.serve import Service, ServiceSettings, app_of
from demur.serve.bounded_connection import HEAD, BoundedConnection

GET = b"GET /v2 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
POST = b"POST /feedback HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


def listening(loaded, work, **settings):
    """Work with a server at a port of its own."""

    async def run():
        service = Service([loaded], ServiceSettings(**settings))
        config = uvicorn.Config(app_of(service), log_config=None, access_log=False, lifespan="off", ws="none")
        config.load()
        state = ServerState()
        service.connections = lambda: len(state.connections)
        make = partial(BoundedConnection, service, config=config, server_state=state, app_state={})
        server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
        try:
            return await asyncio.wait_for(work(server.sockets[0].getsockname()[1], service), 20)
        finally:
            server.close()
            for each in list(state.connections):
                each.transport.abort()
            await asyncio.sleep(0.01)
            service.close()

    return asyncio.run(run())


async def said(reader):
    """Status, headers and JSON of an answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head.decode().splitlines()[1:] if line)
    return int(head.split()[1]), headers, json.loads(await reader.readexactly(int(headers["content-length"])))


async def told(port, *parts):
    """The answer to what is sent, and whether the connection is closed after it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await writer.drain()
    status, _, answer = await said(reader)
    try:
        closed = await asyncio.wait_for(reader.read(1), 0.2) == b""
    except TimeoutError:
        closed = False
    writer.close()
    return status, answer, closed


@pytest.mark.parametrize(
    ("parts", "status", "words"),
    [
        ((GET + b"X-Long: " + b"a" * (HEAD + 1),), 431, "at most 65,536 bytes"),
        ((b"GET /" + b"a" * (HEAD + 1),), 431, "at most 65,536 bytes"),
        ((GET + b"X-A: b\r\n" * 9000,), 431, "at most 65,536 bytes"),
        ((GET,), 408, "within 0.3 seconds"),
        ((b"tea\r\n\r\n",), 400, "no request of HTTP/1.1"),
    ],
)
def test_a_head_has_bounds(loaded, parts, status, words):
    found, answer, closed = listening(loaded, lambda port, _: told(port, *parts), timeout=0.3)
    assert (found, closed) == (status, True)
    assert words in answer["error"]


def test_a_silent_connection_is_closed(loaded):
    async def silent(port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        found = await reader.read(1)
        writer.close()
        return found

    assert listening(loaded, silent, timeout=0.1) == b""


def test_trailers_have_bounds_and_chunks_may_be_tiny(loaded):
    chunks = b"1\r\n \r\n" * 3 * HEAD

    async def both(port, _):
        whole = await told(port, CHUNKED + chunks + b"2\r\n[]\r\n0\r\n\r\n")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(CHUNKED + b"0\r\nX-Long: " + b"a" * 4 * HEAD)
        try:
            rest = await asyncio.wait_for(reader.read(), 3)
        except ConnectionError:
            rest = b""
        writer.close()
        return whole, rest

    (status, answer, closed), rest = listening(loaded, both)
    assert (status, closed) == (422, False), answer
    assert rest == b""


def test_a_connection_is_used_again_and_its_next_head_has_bounds_too(loaded):
    async def twice(port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET + b"\r\n" + GET + b"\r\n")
        found = [(await said(reader))[0], (await said(reader))[0]]
        await asyncio.sleep(0.4)  # longer than a head may take: an idle connection is kept
        writer.write(GET)
        found.append((await said(reader))[0])
        writer.close()
        return found

    assert listening(loaded, twice, timeout=0.3) == [200, 200, 408]


def test_connections_have_bounds(loaded):
    async def many(port, _):
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        await asyncio.sleep(0.02)
        third = await told(port, GET + b"\r\n")
        health = await told(port, GET.replace(b"/v2", b"/v2/health/live") + b"\r\n")
        opened += [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        await asyncio.sleep(0.02)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            fifth = await asyncio.wait_for(reader.read(1), 3)
        except ConnectionError:
            fifth = b""
        for _, each in [*opened, (reader, writer)]:
            each.close()
        await asyncio.sleep(0.02)
        return third, health[0], fifth, (await told(port, GET + b"\r\n"))[0]

    third, health, fifth, later = listening(loaded, many, connections=2)
    assert third[0] == 503
    assert "more than 2 connections" in third[1]["error"]
    assert third[2]
    assert (health, fifth, later) == (200, b"", 200)


def test_bodies_that_are_open_have_a_bound_together(loaded):
    head = POST + b"Content-Length: 30000\r\n\r\n"

    async def three(port, service):
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for _, writer in opened:
            writer.write(head + b" " * 25_000)
        await asyncio.sleep(0.05)
        before = service.bodies.total
        third = await told(port, head + b" " * 25_000)
        for _, writer in opened:
            writer.close()
        await asyncio.sleep(0.05)
        return before, third, service.bodies.total, await told(port, head + b" " * 29_998 + b"[]")

    before, third, after, later = listening(loaded, three, bytes=40_000, open_bytes=60_000)
    assert before == 50_000
    assert (third[0], third[2]) == (503, True)
    assert "of at most 60,000 together" in third[1]["error"]
    assert after == 0
    assert later[0] == 422


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200), ("[::1]:8000", 200), ("10.0.0.7", 200), ("localhost", 200), ("LocalHost:80", 200),
        ("evil.example", 421), ("127.0.0.1.evil.example:80", 421), ("[", 421), ("localhost.evil", 421),
    ],
)  # fmt: skip
def test_without_a_token_a_name_that_leads_here_is_no_way_in(client, host, status):
    answer = client.get("/guards", headers={"Host": host})
    assert answer.status_code == status
    assert client.get("/v2/health/live", headers={"Host": host}).status_code == 200


def test_more_values_than_images_have_are_refused_before_they_are_made(client, monkeypatch):
    monkeypatch.setattr("demur.serve.predict_route.picture_of", lambda *_: 1 / 0)
    monkeypatch.setattr("demur.serve.inference_protocol.picture_of", lambda *_: 1 / 0)
    monkeypatch.setattr("demur.serve.inference_protocol.elements_of_bytes", lambda *_: 1 / 0)
    assert client.post("/predict", json={"images": [""] * 65}).status_code == 413
    assert client.post("/predict", json={"images": [""] * 10_002}).status_code == 413
    named = {"name": "pictures", "datatype": "BYTES", "shape": [65], "data": [""] * 65}
    assert client.post("/v2/models/tiny/infer", json={"inputs": [named]}).status_code == 413
    head = json.dumps({"inputs": [{**named, "data": None, "parameters": {"binary_data_size": 260}}]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    assert client.post("/v2/models/tiny/infer", content=head + bytes(260), headers=headers).status_code == 413
    many = {**tensor(mixed(1).numpy()), "data": [0] * (10_002 + 64 * 64)}
    assert "values" in client.post("/v2/models/tiny/infer", json={"inputs": [many]}).json()["error"]


def test_a_large_body_is_taken_apart_beside_the_event_loop(client, monkeypatch):
    from demur.serve import predict_route

    threads, form_of = [], predict_route.form_of

    def noting(*given):
        threads.append(threading.current_thread().name)
        return form_of(*given)

    monkeypatch.setattr(predict_route, "form_of", noting)
    large = pngs(1)[0] + bytes(2**16)
    assert client.post("/predict", **form([large])).status_code == 200
    assert threads[0].startswith("decode")


def test_many_pixels_in_few_bytes_are_decoded_beside_the_model(client, monkeypatch):
    threads, decode = [], Service._of_pictures

    def noting(*given):
        threads.append(threading.current_thread().name)
        return decode(*given)

    monkeypatch.setattr(Service, "_of_pictures", noting)
    for side in (8, 1024):
        client.post("/predict", **form([blank(side)]))
    assert [name.split()[0].split("_")[0] for name in threads] == ["guard", "decode"]


def blank(side):
    """A grey PNG of few bytes."""
    found = io.BytesIO()
    Image.new("L", (side, side), 128).save(found, "png")
    return found.getvalue()
