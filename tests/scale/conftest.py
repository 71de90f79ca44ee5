import os

import pytest

SECONDS = 1.5


@pytest.fixture
def s3(monkeypatch, tmp_path):
    """A server that speaks S3 on this machine, with an empty bucket, which the environment leads to."""
    pytest.importorskip("moto")
    pytest.importorskip("obstore")
    from urllib.request import Request, urlopen

    from tests.scale.s3_server import Server

    server = Server.start()
    for name in [each for each in os.environ if each.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "anybody",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": server.url,
        "DEMUR_CACHE": str(tmp_path / "cache"),
        "DEMUR_LEASE_SECONDS": str(SECONDS),
    }.items():
        monkeypatch.setenv(name, value)
    for method, path in (("POST", "moto-api/reset"), ("PUT", "bucket")):  # servers of one process share what they hold
        with urlopen(Request(f"{server.url}/{path}", method=method)):
            pass
    yield server
    server.stop()
