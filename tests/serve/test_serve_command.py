"""`demur serve` as a process: common clients, another guard by SIGHUP, an end that leaves nobody unanswered."""

import asyncio
import json
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import requests
from tests import guarded
from tests.cli.test_certify_commands import said
from tests.serve.pictures import binary, encoded, form, mixed, outputs, pngs

from demur.cli import serve_command
from demur.errors import InputError
from demur.guard.file_list import verify_files

PICTURES = pngs(24)
SERVE = (sys.executable, "-m", "demur", "serve")
TOKEN = "a token that nobody guesses"


class Served:
    """A server in a process of its own."""

    def __init__(self, place, *options):
        self.log = (place / "log").open("a")  # to read it by this one would move the place where the process writes
        command = [*SERVE, *options, "--port", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.line = self.process.stdout.readline()
        self.url = self.line.rstrip().rpartition(" ")[2]
        self.port = int(self.url.rpartition(":")[2])

    def lines(self, event):
        whole = Path(self.log.name).read_text().rpartition("\n")[0]
        return [line for line in map(json.loads, whole.splitlines()) if line["event"] == event]

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()


@pytest.fixture(scope="module")
def place(folder, tmp_path_factory):
    return shutil.copytree(folder, tmp_path_factory.mktemp("process") / "guard")


@pytest.fixture(scope="module")
def served(place):
    (place.parent / "token").write_text(f"{TOKEN}\n")
    made = Served(place.parent, f"tiny={place}", "--token-file", str(place.parent / "token"), "--threads", "1")
    yield made
    made.close()


HEADERS = {"Authorization": f"Bearer {TOKEN}"}


def test_it_says_what_it_serves_and_where(served, loaded):
    assert served.line == f"Serving tiny ({loaded.version}) at http://127.0.0.1:{served.port}\n"


def test_tritonclient_gets_the_answers_of_the_guard(served, loaded):
    triton = pytest.importorskip("tritonclient.http")  # it writes into the headers that it is given
    images = mixed(24).numpy()
    expected = loaded.guard(images)
    client = triton.InferenceServerClient(f"127.0.0.1:{served.port}")
    assert client.is_server_live()
    assert client.is_model_ready("tiny", headers=dict(HEADERS))
    assert client.get_model_metadata("tiny", headers=dict(HEADERS))["platform"] == "demur_guard"
    tensor = triton.InferInput("images", list(images.shape), "FP32")
    tensor.set_data_from_numpy(images)
    found = client.infer("tiny", [tensor], headers=dict(HEADERS))
    assert found.as_numpy("accepted").tolist() == expected.accepted.tolist()
    assert found.as_numpy("scores")[:, 0].tolist() == expected.scores["msp"].tolist()
    assert [label.decode() for label in found.as_numpy("label")] == [label or "" for label in expected.answers]
    files = np.array(PICTURES, object)
    pictures = triton.InferInput("pictures", [len(files)], "BYTES")
    pictures.set_data_from_numpy(files)
    wanted = [triton.InferRequestedOutput("predicted_label", binary_data=False)]
    found = client.infer("tiny", [pictures], outputs=wanted, headers=dict(HEADERS))
    assert found.as_numpy("predicted_label").tolist() == list(loaded.guard.read(PICTURES).labels)
    with pytest.raises(triton.InferenceServerException, match="version"):
        client.infer("tiny", [tensor], model_version="2", headers=dict(HEADERS))
    client.close()


def test_a_script_with_requests_gets_them_too(served, loaded):
    expected = loaded.guard.read(PICTURES)
    found = requests.post(f"{served.url}/predict", **form(PICTURES), headers=HEADERS, timeout=30).json()
    assert [each["label"] for each in found["decisions"]] == list(expected.answers)
    asked = binary(mixed(24))
    head, values = outputs(
        requests.post(
            f"{served.url}/v2/models/tiny/infer",
            data=asked["content"],
            headers={**asked["headers"], **HEADERS},
            timeout=30,
        )
    )
    assert values["accepted"] == loaded.guard(mixed(24)).accepted.tolist()
    assert head["model_name"] == "tiny"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_gets_them_too(served, loaded, tmp_path):
    def curl(*arguments):
        run = subprocess.run(
            ["curl", "-s", "-S", "-H", f"Authorization: Bearer {TOKEN}", *map(str, arguments)],
            capture_output=True,
            check=True,
        )
        return json.loads(run.stdout)

    for place, picture in enumerate(PICTURES[:2]):
        (tmp_path / f"{place}.png").write_bytes(picture)
    files = [part for place in range(2) for part in ("-F", f"images=@{tmp_path / f'{place}.png'}")]
    expected = loaded.guard.read(PICTURES[:2])
    found = curl(*files, f"{served.url}/predict")
    assert [each["scores"] for each in found["decisions"]] == [each.scores for each in expected]
    named = {"name": "pictures", "datatype": "BYTES", "shape": [2], "data": encoded(PICTURES[:2])}
    infer = f"{served.url}/v2/models/tiny/infer"
    found = curl("--json", json.dumps({"inputs": [named], "outputs": [{"name": "accepted"}]}), infer)
    assert found["outputs"][0]["data"] == expected.accepted.tolist()
    asked = binary(mixed(2))
    (tmp_path / "body").write_bytes(asked["content"])
    (header,) = asked["headers"].items()
    found = curl("-H", f"{header[0]}: {header[1]}", "--data-binary", f"@{tmp_path / 'body'}", infer)
    assert found["outputs"][1]["data"] == loaded.guard(mixed(2)).accepted.tolist()
    assert header[0] in curl("--data-binary", f"@{tmp_path / 'body'}", infer)["error"]


async def asking(port, content, statuses):
    """One client that sends over a kept connection until nobody listens; −1 is a request that got no answer."""
    reader = writer = None
    while True:
        try:
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return
        try:
            writer.write(content)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            statuses[-1] += 1
            writer.close()
            writer = None
            continue
        statuses[int(head.split(b" ", 2)[1])] += 1
        if b"connection: close" in head.lower():
            writer.close()
            writer = None
            await asyncio.sleep(0.02)


def whole(asked):
    """A request as it goes over the wire."""
    headers = {**asked["headers"], **HEADERS, "Host": "here", "Content-Length": str(len(asked["content"]))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST /v2/models/tiny/infer HTTP/1.1\r\n{lines}\r\n".encode() + asked["content"]


def test_under_load_sighup_brings_another_guard_and_sigterm_leaves_nobody_unanswered(served, place):
    statuses, before = Counter(), verify_files(place)

    async def load():
        content = whole(binary(mixed(2)))
        tasks = [asyncio.create_task(asking(served.port, content, statuses)) for _ in range(16)]
        await asyncio.sleep(0.3)
        served.process.send_signal(signal.SIGHUP)  # the folder holds another guard
        for _ in range(300):
            await asyncio.sleep(0.05)
            if served.lines("reload"):
                break
        await asyncio.sleep(0.2)
        served.process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(asyncio.gather(*tasks), 60)

    shutil.rmtree(place)
    guarded.written(place, made=guarded.guard(risk=0.2))
    asyncio.run(load())
    assert served.process.wait(30) == 0
    reload = served.lines("reload")[0]
    assert (reload["outcome"], reload["before"], reload["sha256"]) == ("changed", before, verify_files(place))
    assert statuses[200] > 50
    assert set(statuses) <= {200, 503}, statuses
    asked = [line for line in served.lines("request") if line["route"] == "/v2/models/{name}/infer"]
    assert {line["guard_sha256"] for line in asked if line["status"] == 200} == {before, verify_files(place)}
    assert served.lines("ending")


def test_what_cannot_be_served_is_said_and_ends_with_status_2(capsys, folder, tmp_path):
    (tmp_path / "token").write_text("short")
    for arguments, words in (
        ((tmp_path,), "manifest"),
        ((folder, folder), "two guards are called 'guard'"),
        ((f"a b={folder}",), "letters, digits, dots"),
        ((folder, "--batch", "0"), "`batch` of a server"),
        ((folder, "--alpha", "2"), "`alpha`"),
        ((folder, "--group", "frame"), "frame"),
        ((folder, "--longest", "0"), "`longest`"),
        ((folder, "--state", tmp_path / "token", "--port", "0"), "cannot be kept in"),
        ((folder, "--token-file", tmp_path / "none"), "cannot be read"),
        ((folder, "--token-file", tmp_path / "token"), "at least 16"),
        ((folder, "--webhook", "ftp://host", "--port", "0"), "a webhook is an address"),
        ((folder, "--host", "203.0.113.1"), "cannot listen at 203.0.113.1:8000"),
    ):
        status, out, err = said(capsys, "serve", *arguments)
        assert (status, out) == (2, ""), (arguments, err)
        assert words in err
        assert "Traceback" not in err


def test_without_the_extra_the_install_line_is_said(monkeypatch, capsys, folder):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "demur.serve.http_server", raising=False)
    status, _, err = said(capsys, "serve", folder)
    assert status == 2
    assert "pip install 'demur[serve]'" in err


def test_bounds_and_names_reach_the_server(monkeypatch):
    kept = {}
    monkeypatch.setattr(serve_command, "_run", lambda *_, **parts: kept.update(parts))
    serve_command.serve(["guard"], allow_host=["Cameras.Example"], max_open_bytes=2**25, max_connections=7)
    found = kept["settings"]
    assert found.hosts == ("cameras.example", "127.0.0.1")
    assert (found.open_bytes, found.connections) == (2**25, 7)
    with pytest.raises(InputError, match="`open_bytes` of a server must lie"):
        serve_command.serve(["guard"], max_open_bytes=2**20)
